# The $using: expressions of a script: each as it is written, its variable, and the members and indices behind it.
param([string] $script)
$isUsing = { param($ast) $ast -is [Management.Automation.Language.UsingExpressionAst] }
$tree = [Management.Automation.Language.Parser]::ParseInput($script, [ref] $null, [ref] $null)
foreach ($using in $tree.FindAll($isUsing, $true)) {
    $path = @()
    $part = $using.SubExpression
    while ($part -isnot [Management.Automation.Language.VariableExpressionAst]) {
        if ($part -is [Management.Automation.Language.IndexExpressionAst]) {
            $path = , $part.Index.SafeGetValue() + $path
            $part = $part.Target
        }
        else {
            $path = , $part.Member.SafeGetValue() + $path
            $part = $part.Expression
        }
    }
    [pscustomobject] @{ Text = $using.Extent.Text; Name = $part.VariablePath.UserPath; Path = $path }
}
