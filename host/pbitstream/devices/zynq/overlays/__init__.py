"""The folder in which PYNQ looks for our overlays, by the entry point `pynq.overlays`.

No bitstream is shipped: a Zynq's needs Vivado. ``pbitstream build pynq-z2 --plan-only`` writes all
that Vivado takes. With pynq-z2.bit and pynq-z2.hwh in this folder, ``pynq.Overlay("pynq-z2.bit")``
finds them from anywhere; in any other folder, give the path.
"""
