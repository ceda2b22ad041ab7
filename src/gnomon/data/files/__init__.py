"""What stands in files, arrays and tables, read as it is and written back; its meaning is found in `encoding`."""
