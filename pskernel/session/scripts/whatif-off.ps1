& {
    $ErrorActionPreference = 'Stop'
    $global:WhatIfPreference = $args[0] -eq 'True'
    if ($args[1]) { $global:PSModuleAutoLoadingPreference = $args[1] }
    else { $ExecutionContext.SessionState.PSVariable.Remove('global:PSModuleAutoLoadingPreference') }
} @args
