"""The substrate in software, bit for bit; the default device."""
