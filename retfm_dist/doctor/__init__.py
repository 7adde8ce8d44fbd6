"""Check of a machine or a cluster before hours on it are spent.

Every host collects its facts (`facts`) and exchanges some data with the host that asks (`link`);
`hosts` starts that everywhere, `needs` says what the run asks for, and `judge` compares the two.
"""
