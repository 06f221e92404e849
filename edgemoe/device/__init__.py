"""What runs on the device, on numpy and onnxruntime alone: a frozen global expert, and the parts that learn."""
