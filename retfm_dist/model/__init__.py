"""The masked autoencoder: patches, masks, model, its sizes and cost, pictures of what it sees.

Images enter as uint8 and leave as a loss; this package reads no file, draws no random number
that it is not handed, and knows nothing of training.
"""
