"""The substrate in Amaranth; imports `pbitstream.spec` and `pbitstream.errors` only."""
