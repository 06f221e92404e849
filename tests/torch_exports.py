"""PyTorch networks, what they cost by their own layers as they run, and their exports."""

import warnings

import torch
from torch import nn


def torch_networks():
    class Depthwise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(1, 8, 3, stride=2, padding=1)
            self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
            self.pointwise = nn.Conv2d(8, 12, 1)
            self.grouped = nn.Conv2d(12, 24, 3, stride=2, padding=2, dilation=2, groups=4)
            self.head = nn.Linear(24, 47)

        def forward(self, x):
            x = nn.functional.relu6(self.first(x))
            x = nn.functional.relu(self.pointwise(nn.functional.hardswish(self.depthwise(x))))
            x = nn.functional.adaptive_avg_pool2d(torch.relu(self.grouped(x)), 1)
            return self.head(x.view(x.size(0), -1))

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(1, 6, 5, padding=2)
            self.a = nn.Conv2d(6, 6, 3, padding=1)
            self.b = nn.Conv2d(6, 6, 3, padding=1)
            self.narrow = nn.Conv2d(12, 5, 1)
            self.head = nn.Linear(5 * 49, 10)

        def forward(self, x):
            x = nn.functional.max_pool2d(torch.relu(self.stem(x)), 2)
            y = torch.relu(self.b(torch.relu(self.a(x))) + x)
            z = nn.functional.avg_pool2d(self.narrow(torch.cat([x, y], 1)), 3, 2, padding=1)
            return torch.softmax(self.head(z.flatten(1)), 1)

    torch.manual_seed(0)
    return {"depthwise": Depthwise().eval(), "residual": Residual().eval()}


def torch_count(network):
    """Parameters and MACs of a PyTorch network, from the outputs that its layers give as it runs."""
    macs = []

    def hook(layer, inputs, output):
        macs.append(output.numel() * layer.weight[0].numel())

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(hook)
    network(torch.zeros(1, 1, 28, 28))
    return sum(p.numel() for p in network.parameters()), sum(macs)


def export(network, path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.zeros(2, 1, 28, 28),), str(path), input_names=["image"], **options)
    return path


BY_TRACING = {"dynamo": False, "dynamic_axes": {"image": {0: "n"}}}
