"""Statistics: functions of a `Case` that return rows of value, error, null and p. A new one is a file here and a name in the registry."""
