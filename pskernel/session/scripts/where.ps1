"$($Host.InstanceId)"
