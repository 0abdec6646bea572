"""Quantisation schemes: fake quantisation with its exact gradient, and latents turned into integer codes."""
