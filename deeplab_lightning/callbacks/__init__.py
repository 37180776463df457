"""What happens beside training: files, progress, stopping."""
