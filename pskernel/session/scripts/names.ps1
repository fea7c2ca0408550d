Get-Command -CommandType Alias, Function, Cmdlet, Application -ErrorAction Ignore | ForEach-Object Name | Select-Object -First 20000
