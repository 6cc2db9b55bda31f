"""What is kept on the disk: identity, paired devices, keys and preferences, sealed and written durably."""
