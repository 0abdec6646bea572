"""EdgeQ: run, measure and teach 1- to 4-bit neural networks on the devices people hold and solder."""
