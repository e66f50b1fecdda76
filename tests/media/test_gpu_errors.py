"""Which words mean that a GPU has too little memory, and which that it has no free encoder session."""

import pytest

from media_pipelines.media.errors import FfmpegFailed, is_out_of_gpu_memory, is_session_limit

MEMORY = [
    "[h264_nvenc @ 0x55] [error] InitializeEncoder failed: out of memory (10)",
    "[hevc_nvenc @ 0x55] [error] EncodePicture failed!: out of memory (10): (no details)",
    "[hevc_cuvid @ 0x5] [error] cuvidCreateDecoder failed: CUDA_ERROR_OUT_OF_MEMORY",
    "[AVHWDeviceContext @ 0x5] cu->cuCtxCreate(&hwctx->cuda_ctx) failed -> CUDA_ERROR_OUT_OF_MEMORY: out of memory",
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 15.77 GiB",
    "RuntimeError: CUDA error: out of memory",
    "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : bfc_arena.cc:376 void* onnxruntime::BFCArena::AllocateRawInternal("
    "size_t, bool) Failed to allocate memory for requested buffer of size 2830172160",
    "[ONNXRuntimeError] : 1 : FAIL : CUDA failure 2: out of memory ; GPU=0 ; hostname=h ; expr=cudaMalloc",
    "vkAllocateMemory: VK_ERROR_OUT_OF_DEVICE_MEMORY",
]
SESSION = [
    "[h264_nvenc @ 0x55] [error] OpenEncodeSessionEx failed: out of memory (10)",
    "[h264_nvenc @ 0x55] [error] OpenEncodeSessionEx failed: out of memory (10): (no details)",
    "[h264_nvenc @ 0x55] [error] OpenEncodeSessionEx failed: incompatible client key (21): (no details)",
]
NEITHER = [
    "",
    "x: Cannot allocate memory",
    "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 10.0 GiB for an array",
    "[h264_nvenc @ 0x55] [error] Cannot load libcuda.so.1",
    "[h264_nvenc @ 0x55] [error] No capable devices found",
    "av_interleaved_write_frame(): No space left on device",
    "Out of memory: Killed process 4711 (ffmpeg)",
]


@pytest.mark.parametrize("text", MEMORY)
def test_a_gpu_without_memory_is_known_by_its_words(text: str) -> None:
    assert is_out_of_gpu_memory(f"something before\n{text}\nsomething after")
    assert not is_session_limit(text)


@pytest.mark.parametrize("text", SESSION)
def test_a_gpu_without_a_free_session_is_not_one_without_memory(text: str) -> None:
    assert is_session_limit(f"{text}\n[h264_nvenc @ 0x55] [error] No capable devices found")
    assert not is_out_of_gpu_memory(text)


@pytest.mark.parametrize("text", NEITHER)
def test_other_words_mean_neither(text: str) -> None:
    assert not is_out_of_gpu_memory(text)
    assert not is_session_limit(text)


@pytest.mark.parametrize("text", [*MEMORY[:4], *SESSION])
def test_either_is_a_failure_of_capacity(text: str) -> None:
    assert FfmpegFailed(["ffmpeg"], 1, [text]).kind == "capacity"
