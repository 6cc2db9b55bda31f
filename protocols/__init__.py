"""What is spoken over the link: messages, the plug-in base, and a folder for each protocol."""
