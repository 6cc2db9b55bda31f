"""The trust protocol: who is revoked is passed on among the user's devices, until all of them know."""
