$errors = $null
$null = [Management.Automation.Language.Parser]::ParseInput($Text, [ref] $null, [ref] $errors)
if (-not $errors) { 'complete' } elseif ($errors.IncompleteInput -contains $true) { 'incomplete' } else { 'invalid' }
