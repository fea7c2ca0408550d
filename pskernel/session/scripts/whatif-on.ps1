& {
    $ErrorActionPreference = 'Stop'
    $variables = $ExecutionContext.SessionState.PSVariable
    $before = $variables.GetValue('global:WhatIfPreference') -eq $true
    $global:WhatIfPreference = $true
    $before
    "$($variables.GetValue('global:PSModuleAutoLoadingPreference'))"
    $global:PSModuleAutoLoadingPreference = 'None'
}
