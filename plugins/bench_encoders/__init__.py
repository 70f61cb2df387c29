"""Encoders: the networks under study."""
