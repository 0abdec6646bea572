"""The pages that show what was measured: which model to put on which device.

figures  one labelled number per configuration, and the points and bests made of them    queries  runs and devices
charts   Vega-Lite specifications  labels  marks, quantities, safe text    views/  one page, one file
app      navigation, what every page shares    server  `edgeq dashboard`: the pages on a loopback port
jobs     verbs that the pages start            report, drawings  `edgeq report`: runs as one file

Only views and app need the extra `edgeq[dashboard]`. The pages open the store read-only; what they start writes it.
"""
