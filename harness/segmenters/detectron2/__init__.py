"""Models of detectron2, trained by detectron2 itself."""
