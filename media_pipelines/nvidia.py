"""How CUDA calls the GPUs that the settings name, and how a process is told to use one of them.

A process that is told sees that one alone, as its first, and so does all that it starts. NVENC and NVDEC find their GPU
through CUDA, so that its own variable reaches every encoder, decoder and engine at once, where `-gpu` and
`-hwaccel_device` would have to be said to each.
"""

import os
from collections.abc import Mapping

from jobqueue_bridge.devices import Device


def variables(device: Device) -> Mapping[str, str]:
    """CUDA counts the fastest GPU first unless told to count as nvidia-smi does."""
    return {"CUDA_VISIBLE_DEVICES": device.uuid or str(device.index), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


class Told:
    """What was said to this process, to be taken back at the end: a run in process shares it with others."""

    def __init__(self, device: Device) -> None:
        told = variables(device)
        self._before = {name: os.environ.get(name) for name in told}
        os.environ.update(told)

    def take_back(self) -> None:
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
