"""detectron2 itself trains its models; this folder gives it our data and reads its predictions."""
