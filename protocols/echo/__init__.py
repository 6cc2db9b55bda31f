"""The echo protocol: what you send comes back. For trying a link and measuring a round trip through a handler."""
