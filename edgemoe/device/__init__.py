"""What runs on the device: a frozen global expert, and the local expert and gate that learn. numpy and onnxruntime only."""
