"""This folder reads data sets from disk (labels, frames, label maps, predictions) and draws training frames from
them."""
