"""Diffusion around the substrate: schedules, the digital reference, denoising, metrics."""
