"""File formats, one file each: their names are the files', and a file here is a format (`export.format`)."""
