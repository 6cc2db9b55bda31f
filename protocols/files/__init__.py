"""Files: one file from disk to disk, verified, resumed after whatever breaks in between."""
