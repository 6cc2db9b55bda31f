"""The link, without actors: addresses, handshakes, frames, streams, and the link's state machine."""
