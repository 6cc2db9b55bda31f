"""Finding paired devices: records that only they can name, open and believe."""
