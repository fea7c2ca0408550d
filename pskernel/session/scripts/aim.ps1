# What a cell asks for: 'hop' if its last statement enters a host, 'through' if another one does, 'back' if it does nothing but leave, 'away' if
# it leaves among other things.
$ast = [Management.Automation.Language.Parser]::ParseInput($Text, [ref] $null, [ref] $null)
$kinds = @(
    foreach ($statement in $ast.EndBlock.Statements) {
        $name = ''
        if ($statement -is [Management.Automation.Language.ExitStatementAst]) {
            if (-not $statement.Pipeline) { $name = 'exit' }
        } elseif ($statement -is [Management.Automation.Language.PipelineAst] -and $statement.PipelineElements.Count -eq 1) {
            $element = $statement.PipelineElements[0]
            if ($element -is [Management.Automation.Language.CommandAst]) { $name = $element.GetCommandName() }
        }
        if ($name -in 'Enter-PSSession', 'etsn', 'Enter-PSHostProcess') { 'hop' }
        elseif ($name -in 'exit', 'Exit-PSSession', 'exsn', 'Exit-PSHostProcess') { 'back' }
        else { '' }
    }
)
$last = $kinds.Count - 1
if ($last -gt 0 -and $kinds[0..($last - 1)] -contains 'hop') { 'through' }
elseif ($last -ge 0 -and $kinds[$last] -eq 'hop') { 'hop' }
elseif ($last -eq 0 -and $kinds[0] -eq 'back') { 'back' }
elseif ($kinds -contains 'back') { 'away' }
else { '' }
