"""The ``where`` protocol: connected devices tell each other where they listen, and believe it when they have tried."""
