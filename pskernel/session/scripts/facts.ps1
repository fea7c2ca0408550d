"$($PSVersionTable.PSVersion)"
"$($PSVersionTable.PSEdition)"
try { [Environment]::UserName } catch { '' }
try { [Environment]::MachineName } catch { '' }
"$($Host.InstanceId)"
"$PID"
