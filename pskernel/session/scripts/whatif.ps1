# Says why a text may not be run under $WhatIfPreference = $true. Its syntax tree is looked at and nothing of it is run.
# Only what is known to be harmless is let through: a node that no rule here is for is a reason. No command is called,
# because what a name means is the session's to say; functions of the session are looked into like the text itself.
& {
    param([string] $Text, [string] $ReadOnly, [string] $ShouldProcess, [string] $TypeNames, [string] $Modules)
    $ErrorActionPreference = 'Stop'
    if ($ExecutionContext.SessionState.LanguageMode -ne 'FullLanguage') {
        'the session''s language is restricted, and commands may be others than their names say'; 'examined'; return
    }
    # Looking for a command must not load a module, which would run its code. Only the global preference counts.
    $variables = $ExecutionContext.SessionState.PSVariable
    $autoload = 'global:PSModuleAutoLoadingPreference'
    $loading = $variables.GetValue($autoload)

    # Module\Name of a command -> its parameters that are not let through; a name -> Module\Name.
    $known = @{}; $homes = @{}; $actsByProvider = @{}
    foreach ($line in "$ReadOnly`n$ShouldProcess" -split "`n") {
        $name, $denied = $line -split '/'
        $known[$name] = @($denied); $homes[$name] = $name; $homes[($name -split '\\')[1]] = $name
    }
    foreach ($line in $ShouldProcess -split "`n") { $actsByProvider[($line -split '/')[0]] = $true }
    $types = @{}; foreach ($name in $TypeNames -split "`n") { $types[$name] = $true }
    $vouchedFor = @{}; foreach ($name in $Modules -split "`n") { if ($name) { $vouchedFor[$name] = $true } }

    $plain = @{}
    foreach ($name in -split 'ParamBlock NamedBlock StatementBlock CommandExpression CommandParameter StringConstantExpression
        ConstantExpression ExpandableStringExpression ArrayLiteral ArrayExpression SubExpression ParenExpression Hashtable
        IndexExpression TernaryExpression ScriptBlockExpression ConvertExpression NamedAttributeArgument AttributedExpression
        IfStatement ForStatement WhileStatement DoWhileStatement DoUntilStatement TryStatement CatchClause
        ReturnStatement ThrowStatement ExitStatement BreakStatement ContinueStatement MergingRedirection') {
        $plain["${name}Ast"] = $true
    }
    $strange = @{
        InvokeMemberExpressionAst = 'calls a method, and methods know no -WhatIf'
        BaseCtorInvokeMemberExpressionAst = 'calls a method, and methods know no -WhatIf'
        TypeDefinitionAst = 'defines a type'
        UsingStatementAst = 'has a using statement'
        UsingExpressionAst = 'has $using:, which means something only in another session'
        TrapStatementAst = 'sets a trap'
        DataStatementAst = 'has a data section'
        ConfigurationDefinitionAst = 'defines a configuration'
        DynamicKeywordStatementAst = 'has a keyword that a module has added to the language'
    }
    $closed = @{}
    foreach ($name in -split 'WhatIfPreference ConfirmPreference PSDefaultParameterValues PSModuleAutoLoadingPreference
        ExecutionContext PSCmdlet') { $closed[$name] = $true }
    # Of the file system, the registry and certificates; they are not seen until a path is.
    $dynamic = @{}
    foreach ($name in -split 'File Directory Hidden ReadOnly System FollowSymlink Attributes Raw Encoding Delimiter Wait
        AsByteStream Stream NoNewline Type') { $dynamic[$name] = $true }
    $setsVariable = @{}
    foreach ($name in -split 'OutVariable ErrorVariable WarningVariable InformationVariable PipelineVariable') {
        $setsVariable[$name] = $true
    }

    $reasons = [Collections.Generic.List[string]]::new()
    $seen = [Collections.Generic.HashSet[string]]::new()
    $queue = [Collections.Generic.Queue[object]]::new()
    $defined = @{}

    $say = { param($node, $what)
        $at = if ($item.Line) { $item.Line } else { $node.Extent.StartLineNumber }
        $sentence = "line ${at}: $($item.Within)$what"
        if ($seen.Add($sentence)) { $reasons.Add($sentence) }
    }

    # Whether a value, as it is written, can be seen to hold no script block but those that are written out.
    $static = { param($node)
        switch ($node.GetType().Name) {
            { $_ -in 'StringConstantExpressionAst', 'ConstantExpressionAst', 'ExpandableStringExpressionAst',
                'ScriptBlockExpressionAst' } { return $true }
            'VariableExpressionAst' { return $node.VariablePath.UserPath -in 'true', 'false', 'null' }
            'ArrayLiteralAst' { foreach ($each in $node.Elements) { if (-not (& $static $each)) { return $false } }; return $true }
            'HashtableAst' { foreach ($pair in $node.KeyValuePairs) { if (-not (& $static $pair.Item2)) { return $false } }; return $true }
            'ParenExpressionAst' { return & $static $node.Pipeline }
            'CommandExpressionAst' { return & $static $node.Expression }
            'PipelineAst' { return $node.PipelineElements.Count -eq 1 -and (& $static $node.PipelineElements[0]) }
            'StatementBlockAst' { foreach ($each in $node.Statements) { if (-not (& $static $each)) { return $false } }; return $true }
            'ArrayExpressionAst' { return & $static $node.SubExpression }
            'ConvertExpressionAst' { return $node.Type.TypeName.FullName -in 'string', 'string[]', 'int', 'long', 'datetime', 'bool' }
            'BinaryExpressionAst' { return "$($node.Operator)" -in 'Format', 'Join' }
        }
        $false
    }

    $find = { param($name)
        $found = $null
        try { $found = $ExecutionContext.InvokeCommand.GetCommand($name, 'All') } catch { $null = $_ }
        if (-not $found -and $homes[$name]) {
            $variables.Set($autoload, 'ModuleQualified')
            try { $found = $ExecutionContext.InvokeCommand.GetCommand($homes[$name], 'Cmdlet') } catch { $null = $_ }
            $variables.Set($autoload, 'None')
        }
        $found
    }

    # Whether a command may be run, as far as it does not depend on its arguments. Returns cmdlets alone: a function's
    # parameters are not known.
    $mayRun = { param($node, $name)
        # A name is taken as it is; no rule here is for what a pattern could find.
        $command = if ($name -eq '?' -or $name -notmatch '[][*?]') { & $find $name }
        for ($step = 0; $step -lt 10 -and $command -and "$($command.CommandType)" -eq 'Alias'; $step++) {
            $command = & $find $command.Definition
        }
        if (-not $command) {
            if (-not $defined[$name]) { & $say $node "$name is not known, or a command of a module that is not loaded" }
            return $null
        }
        $module = "$($command.ModuleName)"
        if ($step) { $name = "$name ($($command.Name))" }
        switch ("$($command.CommandType)") {
            'Application' { & $say $node "$name is a native command, which knows no -WhatIf" }
            'ExternalScript' { & $say $node "$name is a script file, which is not looked into" }
            { $_ -in 'Function', 'Filter' } {
                # Not by its parameters: asked for those, PowerShell runs the function's dynamicparam block.
                $supports = if ($vouchedFor[$module]) {
                    foreach ($each in $command.ScriptBlock.Attributes) {
                        if ($each -is [Management.Automation.CmdletBindingAttribute] -and $each.SupportsShouldProcess) { $true }
                    }
                }
                if ($supports) { }
                elseif ($module -or $command.ScriptBlock.Module) { & $say $node "$name is a function of the module $module" }
                elseif ($seen.Add("function $($command.Name)")) {
                    $at = if ($item.Line) { $item.Line } else { $node.Extent.StartLineNumber }
                    $queue.Enqueue(@{ Ast = $command.ScriptBlock.Ast; Line = $at; Within = "in the function $($command.Name): " })
                }
            }
            'Cmdlet' {
                $key = "$module\$($command.Name)"
                $loads = $false
                if ($key -eq 'Microsoft.PowerShell.Core\Import-Module' -and $node.CommandElements.Count -eq 2) {
                    $what = $node.CommandElements[1]
                    $loads = $what.GetType().Name -eq 'StringConstantExpressionAst' -and $vouchedFor[$what.Value]
                }
                $token = [BitConverter]::ToString($command.ImplementingType.Assembly.GetName().GetPublicKeyToken())
                if ($loads -or ($vouchedFor[$module] -and $command.Parameters.ContainsKey('WhatIf'))) { }
                elseif (-not $known.ContainsKey($key) -or $token -ne '31-BF-38-56-AD-36-4E-35') {
                    & $say $node "$name is not among the commands that are known to support -WhatIf or to change nothing"
                }
                elseif ($actsByProvider[$key]) {
                    if (-not $command.Parameters.ContainsKey('WhatIf')) { & $say $node "$name knows no -WhatIf here" }
                    # By name: as a type it is not found before its module is loaded.
                    $base = $command.ImplementingType
                    while ($base -and $base.FullName -ne 'Microsoft.PowerShell.Commands.CoreCommandBase') { $base = $base.BaseType }
                    if ($base) {
                        foreach ($provider in $ExecutionContext.SessionState.Provider.GetAll()) {
                            if (-not ($provider.Capabilities -band [Management.Automation.Provider.ProviderCapabilities]::ShouldProcess)) {
                                & $say $node "$name may act on the session's provider $($provider.Name), which knows no -WhatIf"
                            }
                        }
                    }
                }
            }
            default { & $say $node "$name is neither a cmdlet nor a function" }
        }
        if ("$($command.CommandType)" -eq 'Cmdlet') { $command }
    }

    # Whether a value may be bound to a parameter: one that would run a script block must show that it is none, or which.
    $fits = { param($command, $parameter, $value, $inPipeline)
        $type = $parameter.ParameterType.FullName
        $bound = foreach ($set in $parameter.ParameterSets.Values) {
            if ($set.ValueFromPipeline -or $set.ValueFromPipelineByPropertyName) { $true }
        }
        $evaluates = $type -like '*ScriptBlock*' -or ($parameter.Name -in 'Property', 'GroupBy' -and $type -notlike 'System.String*') -or
            ($inPipeline -and $bound -and $type -notin 'System.Object', 'System.Management.Automation.PSObject')
        if (-not $evaluates -or (& $static $value)) { return $true }
        & $say $value "-$($parameter.Name) of $($command.Name) would run a script block: write the value out, or in double quotes"
        $false
    }

    # The parameters that an argument without a name may be bound to, with the first and the last place of such an argument.
    $ranks = { param($command)
        $every = '__AllParameterSets'
        foreach ($parameter in $command.Parameters.Values) {
            foreach ($set in $parameter.ParameterSets.GetEnumerator()) {
                if ($set.Value.ValueFromRemainingArguments) { @{ Parameter = $parameter; Least = 0; Most = 1000 } }
                if ($set.Value.Position -lt 0) { continue }
                $least = $most = 0
                foreach ($other in $command.Parameters.Values) {
                    $before = foreach ($one in $other.ParameterSets.GetEnumerator()) {
                        if ($one.Value.Position -ge 0 -and $one.Value.Position -lt $set.Value.Position) { $one.Key }
                    }
                    if (-not $before) { continue }
                    $together = $before -contains $every -or $before -contains $set.Key
                    if ($together) { $least++ }
                    if ($together -or $set.Key -eq $every) { $most++ }
                }
                @{ Parameter = $parameter; Least = $least; Most = $most }
            }
        }
    }

    $checkNamed = { param($node, $key, $name, $parameter, $word, $value)
        $full = if ($parameter) { $parameter.Name } else { $word }
        if (-not $parameter -and -not ($word -eq 'WhatIf' -and (-not $value -or $value.Extent.Text -eq '$true'))) {
            foreach ($each in -split 'WhatIf OutVariable ErrorVariable WarningVariable InformationVariable PipelineVariable
                wi ov ev wv iv pv') {
                if ($each -like "$word*") { & $say $node "-$word of $name may be -$each"; return }
            }
        }
        if ($full -eq 'WhatIf' -and $value -and $value.Extent.Text -ne '$true') { & $say $node "$name sets -WhatIf itself" }
        if ($setsVariable[$full]) {
            $target = ''
            if ($value -and $value.GetType().Name -eq 'StringConstantExpressionAst') { $target = $value.Value -replace '^\+' }
            if ($target -notmatch '^[a-z_]\w*$' -or $closed[$target]) { & $say $node "-$full of $name sets a variable that it must not" }
        }
        if ($known[$key] -contains $full) { & $say $node "-$full of $name acts, whatever the preference is" }
    }

    # The arguments of a command; $command is null for functions and script blocks.
    $checkArguments = { param($node, $command, $name, $inPipeline)
        $key = if ($command) { "$($command.ModuleName)\$($command.Name)" } else { $name }
        $positional = if ($command) { & $ranks $command } else { @() }
        $count = $named = 0
        $elements = $node.CommandElements
        for ($index = 1; $index -lt $elements.Count; $index++) {
            $element = $elements[$index]
            if ($element.GetType().Name -eq 'CommandParameterAst') {
                $parameter = $null
                if ($command) {
                    try { $parameter = $command.ResolveParameter($element.ParameterName) } catch { $null = $_ }
                    if (-not $parameter -and -not $dynamic[$element.ParameterName]) {
                        & $say $element "-$($element.ParameterName) is not a known parameter of $name"
                    }
                }
                $value = $element.Argument
                if (-not $value -and $index + 1 -lt $elements.Count -and
                    $elements[$index + 1].GetType().Name -ne 'CommandParameterAst' -and
                    -not ($parameter -and $parameter.SwitchParameter)) {
                    # Where nothing is known of the parameter, it may be a switch: the value is looked at as both.
                    $value = $elements[$index + 1]
                    if ($parameter) { $index++ }
                }
                if (-not $command -or $parameter) { & $checkNamed $element $key $name $parameter $element.ParameterName $value }
                if ($parameter -and $value) { $null = & $fits $command $parameter $value $inPipeline }
                elseif ($value -and $inPipeline -and -not $command -and -not (& $static $value)) {
                    & $say $element "-$($element.ParameterName) of $name may be a script block: write the value out, or in double quotes"
                }
                foreach ($each in $positional) { if ($parameter -and $each.Parameter.Name -eq $parameter.Name) { $named++ } }
            }
            else {
                if ($element.Extent.Text -like '--%*') { & $say $element 'has --%, behind which nothing can be seen' }
                foreach ($each in $positional) {
                    $may = $each.Most -ge $count -and $each.Least -le $count + $named
                    if ($may -and -not (& $fits $command $each.Parameter $element $inPipeline)) { break }
                }
                if (-not $command -and $inPipeline -and -not (& $static $element)) {
                    & $say $element "an argument of $name may be a script block: write it out, or in double quotes"
                }
                $count++
            }
        }
    }

    # Where a value may be stored: in variables.
    $checkTarget = { param($target)
        switch ($target.GetType().Name) {
            'VariableExpressionAst' {
                $path = $target.VariablePath
                if ($path.IsDriveQualified) { & $say $target "sets $($target.Extent.Text), which is not a variable" }
                elseif (($path.IsGlobal -or $path.IsScript) -and $path.UserPath -like '*Preference') {
                    & $say $target "sets $($target.Extent.Text) for more than the cell"
                }
            }
            { $_ -in 'ConvertExpressionAst', 'AttributedExpressionAst' } { & $checkTarget $target.Child }
            'ArrayLiteralAst' { foreach ($each in $target.Elements) { & $checkTarget $each } }
            'ParenExpressionAst' { & $checkTarget $target.Pipeline.PipelineElements[0].Expression }
            default { & $say $target "sets $($target.Extent.Text), a part of an object, which may be more than a variable" }
        }
    }

    $checkType = { param($node)
        $type = $node.TypeName.GetReflectionType()
        while ($type -and $type.IsArray) { $type = $type.GetElementType() }
        if (-not $type -or -not $types[$type.FullName]) {
            & $say $node "[$($node.TypeName.FullName)] is not among the types that are known to be mere values"
        }
    }

    $checks = @{
        ScriptBlockAst = { param($node) if ($node.ScriptRequirements) { & $say $node 'has a #requires line, which may load modules' } }
        CommandAst = { param($node)
            $elements = $node.CommandElements
            $inPipeline = $node.Parent.GetType().Name -eq 'PipelineAst' -and
                -not [object]::ReferenceEquals($node.Parent.PipelineElements[0], $node)
            if ($node.DefiningKeyword) { & $say $node 'has a keyword that a module has added to the language'; return }
            if ("$($node.InvocationOperator)" -eq 'Dot') { & $say $node 'is run with a dot, in the session''s own scope'; return }
            if ($elements[0].GetType().Name -eq 'ScriptBlockExpressionAst') {
                & $checkArguments $node $null 'the script block' $inPipeline
            }
            elseif ($elements[0].GetType().Name -eq 'StringConstantExpressionAst') {
                $name = $elements[0].Value
                $before = $reasons.Count
                $command = & $mayRun $node $name
                if ($reasons.Count -gt $before) { return }
                if ($command) { & $checkArguments $node $command $name $inPipeline }
                if (-not $command -or $defined[$name]) { & $checkArguments $node $null $name $inPipeline }
            }
            else { & $say $node "$($elements[0].Extent.Text) says only when it runs which command it is" }
        }
        # Carried out by the command of that name.
        FileRedirectionAst = { param($node)
            if ($node.Location.Extent.Text -ne '$null') { $null = & $mayRun $node 'Out-File' }
        }
        VariableExpressionAst = { param($node)
            $path = $node.VariablePath
            $text = $node.Extent.Text
            if ($node.Splatted) { & $say $node "$text may hold any parameter, -WhatIf:`$false among them" }
            if ($closed[($path.UserPath -split ':')[-1]]) { & $say $node "names $text, which decides what is only shown" }
            if ($path.IsDriveQualified -and $path.DriveName -ne 'env') { & $say $node "$text is not a variable" }
        }
        MemberExpressionAst = { param($node)
            if ($node.Static -and $node.Expression.GetType().Name -ne 'TypeExpressionAst') {
                & $say $node "$($node.Expression.Extent.Text) says only when it runs which type it is"
            }
        }
        BinaryExpressionAst = { param($node)
            $right = $node.Right
            switch -Regex ("$($node.Operator)") {
                '^As$' { if ($right.GetType().Name -ne 'TypeExpressionAst') { & $say $node "$($right.Extent.Text) says only when it runs which type it is" } }
                '^[IC](replace|split)$' {
                    # A pattern is never run, what stands for it is.
                    $parts = if ($right.GetType().Name -eq 'ArrayLiteralAst') { @($right.Elements) } else { @($right) }
                    if ($_ -like '?replace' -and $parts.Count -gt 1) { $parts = $parts[1..($parts.Count - 1)] }
                    foreach ($part in $parts) {
                        if (-not (& $static $part)) { & $say $node "$($part.Extent.Text) may be a script block, which -$($_.Substring(1)) would run" }
                    }
                }
            }
        }
        UnaryExpressionAst = { param($node) if ("$($node.TokenKind)" -like '*PlusPlus' -or "$($node.TokenKind)" -like '*MinusMinus') { & $checkTarget $node.Child } }
        ParameterAst = { param($node) & $checkTarget $node.Name }
        AssignmentStatementAst = { param($node) & $checkTarget $node.Left }
        ForEachStatementAst = { param($node)
            & $checkTarget $node.Variable
            if ("$($node.Flags)" -ne 'None') { & $say $node 'is a loop in parallel' }
        }
        SwitchStatementAst = { param($node)
            if ("$($node.Flags)" -match 'Parallel') { & $say $node 'is a switch in parallel' }
            foreach ($clause in $node.Clauses) {
                if (-not (& $static $clause.Item1)) { & $say $clause.Item1 "$($clause.Item1.Extent.Text) may be a script block, which switch would run" }
            }
        }
        PipelineAst = { param($node) if ($node.PSObject.Properties['Background'] -and $node.Background) { & $say $node 'is run in the background' } }
        PipelineChainAst = { param($node) if ($node.Background) { & $say $node 'is run in the background' } }
        FunctionDefinitionAst = { param($node)
            if ($node.IsWorkflow) { & $say $node 'defines a workflow' }
            if ($node.Name -match ':' -and $node.Name -notmatch '^(global|script|local):') { & $say $node "defines $($node.Name), which is not seen everywhere" }
        }
        TypeConstraintAst = { param($node) if ($node.Parent.GetType().Name -ne 'CatchClauseAst') { & $checkType $node } }
        TypeExpressionAst = { param($node)
            $asked = $node.Parent.GetType().Name -eq 'BinaryExpressionAst' -and "$($node.Parent.Operator)" -in 'Is', 'IsNot'
            if (-not $asked) { & $checkType $node }
        }
        AttributeAst = { param($node)
            $type = $node.TypeName.GetReflectionAttributeType()
            if (-not $type -or $type.FullName -notmatch '^System\.Management\.Automation\.(Parameter|CmdletBinding|Alias|OutputType|Allow(Null|Empty\w+)|Validate(Set|Range|Length|Pattern|Count|Script|NotNull\w*))(Attribute)?$') {
                & $say $node "[$($node.TypeName.FullName)] is not among the attributes that are known to do nothing by themselves"
            }
        }
    }

    $values = $variables.GetValue('global:PSDefaultParameterValues')
    if ($values -and $values.Count) { $reasons.Add('line 1: $PSDefaultParameterValues of the session gives parameters that are not seen in the cell') }
    $tokens = $errors = $null
    $ast = [Management.Automation.Language.Parser]::ParseInput($Text, [ref] $tokens, [ref] $errors)
    foreach ($each in $errors) { $reasons.Add("line $($each.Extent.StartLineNumber): PowerShell cannot read it: $($each.Message)") }
    if (-not $errors) { $queue.Enqueue(@{ Ast = $ast; Line = 0; Within = '' }) }
    try {
        $variables.Set($autoload, 'None')
        while ($queue.Count -and $reasons.Count -lt 50) {
            $item = $queue.Dequeue()
            $nodes = @($item.Ast.FindAll({ $true }, $true))
            foreach ($node in $nodes) {
                if ($node.GetType().Name -eq 'FunctionDefinitionAst') { $defined[($node.Name -split ':')[-1]] = $true }
            }
            foreach ($node in $nodes) {
                if ($reasons.Count -ge 50) { break }
                $kind = $node.GetType().Name
                if ($plain[$kind]) { continue }
                if ($checks.ContainsKey($kind)) { & $checks[$kind] $node }
                elseif ($strange.ContainsKey($kind)) { & $say $node "$(($node.Extent.Text -split '\r?\n')[0]) $($strange[$kind])" }
                else { & $say $node "has a $kind, which is not known" }
            }
        }
    }
    finally { if ($loading) { $variables.Set($autoload, $loading) } else { $variables.Remove($autoload) } }
    $reasons
    'examined'
} @args
