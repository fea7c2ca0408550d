# The $using: expressions of a script, each as it is written, with the members and indices behind it.
param([string] $script)
$isUsing = { param($ast) $ast -is [Management.Automation.Language.UsingExpressionAst] }
$tree = [Management.Automation.Language.Parser]::ParseInput($script, [ref] $null, [ref] $null)
foreach ($using in $tree.FindAll($isUsing, $true)) { $using.Extent.Text }
