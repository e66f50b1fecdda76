"""The files of the corpus, by the ways in which they are awkward. What is said of each was decided by hand."""

import os
import random
import socket
import struct
import zipfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

from tests.corpus.studio import PICTURE, TONE, X264, Studio
from tests.corpus.truth import Broken, Damaged, Entry, Skipped, Sound, Truth, Unseen

_MPEG2 = "-c:v mpeg2video -b:v 500k"
_X265_10 = "-c:v libx265 -preset ultrafast -pix_fmt yuv420p10le"
_HEVC_10 = f"{_X265_10} -tag:v hvc1"
_BT2020 = "-color_primaries bt2020 -colorspace bt2020nc -color_range tv"
_MASTERING = (
    "log-level=error:hdr10=1:max-cll=1000,400:"
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
)
_VP9 = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8"
_SEED = 20_240_229
BIT_FLIPS = 100


def _encoded(codecs: str, picture: str = PICTURE, *tones: str) -> Callable[[Studio, Path], None]:
    return lambda studio, path: studio.clip(path, codecs, (picture,), tones)


def _remuxed(arguments: str) -> Callable[[Studio, Path], None]:
    return lambda studio, path: studio.remux(path, arguments)


def _bytes(content: bytes | Callable[[Studio], bytes]) -> Callable[[Studio, Path], None]:
    return lambda studio, path: _write(path, content if isinstance(content, bytes) else content(studio))


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _copy(studio: Studio, path: Path) -> None:
    path.write_bytes(studio.plain.read_bytes())


def _picture(size: str = "64x48", rate: str = "25", seconds: float = 1) -> str:
    return f"testsrc2=s={size}:r={rate}:d={seconds}"


def _scaled(width: int, height: int, form: str) -> str:
    return f"{PICTURE},scale={width}:{height},setsar=1,format={form}"


def _tone(seconds: float = 1, layout: str = "mono", rate: int = 48_000) -> str:
    return f"aevalsrc=exprs=0.2*sin(880*t):s={rate}:d={seconds},aformat=channel_layouts={layout}"


def sizes() -> Iterator[Entry]:
    def size(name: str, codecs: str, picture: str, *shown: int) -> Entry:
        return Entry(name, "size", _encoded(codecs, picture), Sound((shown[0], shown[1])))

    yield size("one-pixel.mkv", "-c:v ffv1", _scaled(1, 1, "gray"), 1, 1)
    yield size("two-by-two.mkv", "-c:v ffv1", _scaled(2, 2, "yuv420p"), 2, 2)
    yield size("odd-17x31.webm", f"{_VP9} -pix_fmt yuv420p", _scaled(17, 31, "yuv420p"), 17, 31)
    yield size("odd-height-64x47.mkv", "-c:v ffv1", _scaled(64, 47, "yuv420p"), 64, 47)
    yield size("odd-width-h264.mp4", "-c:v libx264 -preset ultrafast", _scaled(63, 48, "yuv444p"), 63, 48)
    yield size("wide-3-to-1.mp4", X264, _picture("144x48"), 144, 48)
    yield size("strip-640x8.mkv", "-c:v ffv1", _scaled(640, 8, "yuv420p"), 640, 8)
    yield size("column-8x640.mkv", "-c:v ffv1", _scaled(8, 640, "yuv420p"), 8, 640)
    yield size("portrait.mp4", X264, _picture("54x96"), 54, 96)
    yield size("square.mp4", X264, _picture("48x48"), 48, 48)
    yield Entry("uhd.mp4", "size", _encoded(X264, _picture("3840x2160", "5", 0.4)), Sound((3840, 2160), seconds=0.4))
    yield Entry(
        "size-changes.ts", "size",
        lambda studio, path: _write(path, _joined(studio, "64x48", "96x64")), Sound((64, 48), seconds=2, audio=0),
    )  # fmt: skip


def _joined(studio: Studio, *sizes: str) -> bytes:
    """Transport streams one after the other, as a tuner writes them."""
    parts = []
    for n, size in enumerate(sizes):
        part = studio.scratch / f"part-{size}.ts"
        studio.clip(part, f"{X264} -g 5 -output_ts_offset {n}", (_picture(size),), ())
        parts.append(part.read_bytes())
    return b"".join(parts)


def turns() -> Iterator[Entry]:
    def turned(name: str, option: str, *shown: int) -> Entry:
        return Entry(name, "rotation", _remuxed(f"{option} -i {{plain}} -c copy"), Sound((shown[0], shown[1]), audio=1))

    yield turned("turned-90.mp4", "-display_rotation 90", 48, 64)
    yield turned("turned-180.mp4", "-display_rotation 180", 64, 48)
    yield turned("turned-270.mov", "-display_rotation 270", 48, 64)
    yield turned("turned-minus-90.mkv", "-display_rotation -90", 48, 64)
    yield turned("mirrored.mp4", "-display_hflip", 64, 48)
    yield turned("upside-down.mp4", "-display_vflip", 64, 48)
    yield turned("turned-and-mirrored.mp4", "-display_rotation 90 -display_hflip", 48, 64)


def pixels() -> Iterator[Entry]:
    def aspect(name: str, sar: str) -> Entry:
        truth = Sound((64, 48), sar=Fraction(sar))
        return Entry(name, "pixel aspect", _encoded(f"{X264} -vf setsar={sar}", PICTURE), truth)

    yield aspect("wide-pixels.mp4", "2/1")
    yield aspect("tall-pixels.mkv", "3/4")
    yield aspect("pal-pixels.mov", "16/11")
    yield Entry("turned-wide-pixels.mp4", "pixel aspect", _turned_anamorphic, Sound((48, 64), sar=Fraction(1, 2)))

    def form(name: str, codecs: str, picture: str = PICTURE) -> Entry:
        return Entry(name, "pixel format", _encoded(codecs, picture), Sound())

    yield form("10-bit-h264.mp4", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p10le")
    yield form("10-bit-hevc.mp4", _HEVC_10)
    yield form("4-2-2.mp4", "-c:v libx264 -preset ultrafast -pix_fmt yuv422p")
    yield form("4-2-2-10-bit-prores.mov", "-c:v prores_ks -profile:v 2 -pix_fmt yuv422p10le")
    yield form("4-4-4-4-prores.mov", "-c:v prores_ks -profile:v 4 -pix_fmt yuva444p10le", f"{PICTURE},format=yuva444p")
    yield form("4-4-4.mp4", "-c:v libx264 -preset ultrafast -pix_fmt yuv444p")
    yield form("gray.mp4", "-c:v libx264 -preset ultrafast -pix_fmt gray")
    yield form("gray-16-bit.mkv", "-c:v ffv1 -pix_fmt gray16le")
    yield form("rgb.mp4", "-c:v libx264rgb -preset ultrafast -pix_fmt rgb24")
    yield form("palette.mov", "-c:v qtrle -pix_fmt rgb24")
    yield form("full-range.avi", "-c:v mjpeg -pix_fmt yuvj420p -color_range pc")
    yield form("alpha.webm", "-c:v libvpx-vp9 -deadline realtime -pix_fmt yuva420p", f"{PICTURE},format=yuva420p")
    yield form("4-1-0.mkv", "-c:v ffv1 -pix_fmt yuv410p")
    yield form("float-like-12-bit.mkv", "-c:v ffv1 -pix_fmt yuv420p12le")

    def hdr(name: str, codecs: str) -> Entry:
        return Entry(name, "HDR", _encoded(codecs), Sound())

    yield hdr("hdr10.mp4", f"{_HEVC_10} {_BT2020} -color_trc smpte2084 -x265-params {_MASTERING}")
    yield hdr(
        "hdr10.mkv",
        f"-c:v libx265 -preset ultrafast -pix_fmt yuv420p10le {_BT2020} -color_trc smpte2084 -x265-params {_MASTERING}",
    )
    yield hdr("hlg.mp4", f"{_HEVC_10} {_BT2020} -color_trc arib-std-b67")
    yield hdr("pq-in-vp9.webm", f"{_VP9} -profile:v 2 -pix_fmt yuv420p10le {_BT2020} -color_trc smpte2084")
    yield hdr("bt601-tags.mp4", f"{X264} -color_primaries bt470bg -colorspace bt470bg -color_trc gamma28")
    yield Entry("fields-mpeg2.mpg", "interlaced", _encoded(f"{_MPEG2} -flags +ildct+ilme -vf setfield=tff"), Sound())
    yield Entry(
        "fields-h264.mkv", "interlaced",
        _encoded(f"{X264} -x264-params tff=1:interlaced=1", _picture("64x64")), Sound((64, 64)),
    )  # fmt: skip
    yield Entry(
        "telecine.mpg",
        "interlaced",
        _encoded(f"{_MPEG2} -vf telecine -r 30000/1001", _picture(rate="24000/1001")),
        Sound(),
    )


def _turned_anamorphic(studio: Studio, path: Path) -> None:
    wide = studio.scratch / "wide.mp4"
    studio.clip(wide, f"{X264} -vf setsar=2/1", (PICTURE,), ())
    studio.run(["-display_rotation", "90", "-i", str(wide), "-c", "copy", f"file:{path}"])


def rates() -> Iterator[Entry]:
    def rate(name: str, codecs: str, picture: str, seconds: float = 1) -> Entry:
        return Entry(name, "frame rate", _encoded(codecs, picture), Sound(seconds=seconds))

    uneven = "\"select='not(mod(n,3))+not(mod(n,7))'\""
    yield rate("variable.mkv", f"{X264} -vf {uneven} -fps_mode vfr", PICTURE)
    yield rate("variable.mp4", f"{X264} -vf {uneven} -fps_mode vfr", PICTURE)
    yield rate("one-per-second.mp4", X264, _picture(rate="1", seconds=2), 2)
    yield rate("240.mp4", X264, _picture(rate="240", seconds=0.5), 0.5)
    yield rate("ntsc.mp4", X264, _picture(rate="30000/1001"))
    yield rate("film.mkv", X264, _picture(rate="24000/1001"))
    yield rate("long-gap.mkv", f"{X264} -vf \"setpts='PTS+gte(N,10)*3/TB'\" -fps_mode vfr", PICTURE, 4)
    yield rate("one-frame.mp4", f"{X264} -frames:v 1", PICTURE, 0.04)
    yield rate("one-frame-with-sound.mp4", f"{X264} -frames:v 1", PICTURE, 0.04)
    yield rate("two-frames.avi", "-c:v mpeg4 -frames:v 2", PICTURE, 0.08)
    yield rate("slide-show.mp4", f"{X264} -vf settb=1/1000,setpts=N*2000 -fps_mode vfr", _picture(seconds=0.08), 2.04)
    yield rate("black.mp4", X264, "color=black:s=64x48:r=25:d=1")
    yield rate(
        "black-beginning.mp4",
        X264,
        "color=black:s=64x48:r=25:d=0.7[a];testsrc2=s=64x48:r=25:d=0.5[b];[a][b]concat",
        1.2,
    )


def times() -> Iterator[Entry]:
    def timed(name: str, arguments: str, seconds: float = 1, audio: int = 1, truth: Truth | None = None) -> Entry:
        return Entry(name, "timestamps", _remuxed(arguments), truth or Sound(seconds=seconds, audio=audio))

    yield timed("starts-at-5-s.mkv", "-i {plain} -c copy -output_ts_offset 5")
    yield timed(
        "starts-at-5-s.mp4", "-i {plain} -c copy -output_ts_offset 5 -avoid_negative_ts disabled", truth=Damaged()
    )
    yield timed("starts-at-5-s.ts", "-i {plain} -c copy -output_ts_offset 5")
    yield timed("starts-at-a-day.ts", "-i {plain} -c copy -output_ts_offset 86000")
    yield timed("clock-wraps.ts", "-i {plain} -c copy -output_ts_offset 95443.2")
    yield timed("edit-list.mp4", "-ss 0.3 -i {plain} -c copy", 0.7)
    yield timed("b-frames-negative.mp4", "-i {frames} -c copy -avoid_negative_ts disabled -use_editlist 0", audio=0)
    yield timed("sound-first.mp4", "-i {plain} -itsoffset 0.3 -i {frames} -map 1:v -map 0:a -c copy", 1.3)
    yield timed("picture-first.mkv", "-i {frames} -itsoffset 0.3 -i {plain} -map 0:v -map 1:a -c copy", 1.3)
    yield timed("out-of-order.avi", "-i {frames} -c copy -bsf:v setts=pts=PTS:dts=DTS", audio=0)
    yield timed(
        "jumps-back.mkv", "-i {plain} -c copy -bsf:v \"setts=ts='if(eq(mod(N,10),9),PTS-200,PTS)'\"", truth=Damaged()
    )
    yield timed("all-at-zero.mkv", "-i {plain} -c copy -bsf:v setts=ts=0", truth=Damaged())
    yield timed(
        "wrong-clock.mp4",
        "-i {plain} -an -c copy -bsf:v setts=ts=N*2:duration=1 -video_track_timescale 90000",
        truth=Damaged(),
    )
    yield Entry("streamed.mkv", "no duration", _streamed("matroska"), Sound(audio=1))
    yield Entry(
        "streamed.webm", "no duration", _encoded(f"{_VP9} -c:a libopus -live 1 -f webm", PICTURE, TONE), Sound(audio=1)
    )
    yield timed("fragmented.mp4", "-i {plain} -c copy -movflags frag_keyframe+empty_moov+default_base_moof")
    yield timed("fast-start.mp4", "-i {plain} -c copy -movflags +faststart")
    yield Entry("streamed.flv", "no duration", _streamed("flv"), Sound(audio=1))
    yield Entry("joined.ts", "timestamps", _bytes(lambda studio: studio.ts.read_bytes() * 2), Damaged())
    yield Entry("joined.mp4", "timestamps", _bytes(lambda studio: studio.plain.read_bytes() * 2), Sound(audio=1))


def _streamed(form: str) -> Callable[[Studio, Path], None]:
    """Through a pipe, so that nothing can be written into the beginning at the end."""
    return lambda studio, path: _write(path, studio.run(["-i", str(studio.plain), "-c", "copy", "-f", form, "pipe:1"]))


def sounds() -> Iterator[Entry]:
    def sound(name: str, codecs: str, *tones: str, seconds: float = 1, picture: str = PICTURE) -> Entry:
        made = _encoded(f"{X264} {codecs}", picture, *tones)
        return Entry(name, "sound", made, Sound(seconds=seconds, audio=len(tones)))

    yield sound("surround-5-1.mp4", "-c:a aac", _tone(layout="5.1"))
    yield sound("surround-5-1-ac3.mkv", "-c:a ac3", _tone(layout="5.1"))
    yield sound("surround-7-1.mkv", "-c:a flac", _tone(layout="7.1"))
    yield sound("surround-7-1-truehd.mkv", "-c:a truehd -strict -2", _tone(layout="5.1"))
    yield sound("dts.mkv", "-c:a dca -strict -2", _tone(layout="5.1"))
    yield sound("odd-layout-2-1.mkv", "-c:a flac", _tone(layout="2.1"))
    yield sound("no-layout.mov", "-c:a pcm_s16le -ac 3", _tone(layout="3.0"))
    yield sound("mono-8-khz.mov", "-c:a pcm_mulaw", _tone(rate=8000))
    yield sound("amr.3gp", "-c:a libopencore_amrnb -b:a 12.2k", _tone(rate=8000))
    yield sound("192-khz.mkv", "-c:a flac", _tone(rate=192_000, layout="stereo"))
    yield sound("24-bit.mov", "-c:a pcm_s24le", _tone(layout="stereo"))
    yield sound("float.mkv", "-c:a pcm_f64le", _tone())
    yield sound("vorbis.mkv", "-c:a libvorbis", _tone(layout="stereo"))
    yield sound(
        "five-tracks.mkv",
        "-map 0 -map 1 -map 2 -map 3 -map 4 -map 5 -c:a:0 aac -c:a:1 libmp3lame -c:a:2 ac3 -c:a:3 libopus -c:a:4 flac "
        "-metadata:s:a:0 language=eng -metadata:s:a:1 language=deu -disposition:a:1 default -disposition:a:0 0",
        *[_tone(layout="stereo")] * 5,
    )  # fmt: skip
    yield sound("no-sound.mp4", "")
    yield sound("sound-ends-early.mp4", "-c:a aac", _tone(0.3))
    yield sound("picture-ends-early.mp4", "-c:a aac", _tone(2), seconds=2)
    yield sound("picture-ends-early.mkv", "-c:a aac", _tone(2), seconds=2)
    yield Entry("only-sound.mp4", "sound", _encoded("-c:a aac", TONE), Broken("no video stream"))
    yield Entry("only-sound.mkv", "sound", _encoded("-c:a flac", TONE), Broken("no video stream"))
    yield Entry(
        "cover-art-only.m4v", "sound",
        _remuxed("-i {plain} -i {cover} -map 0:a -map 1 -c copy -disposition:v attached_pic -f mp4"),
        Broken("no video stream"),
    )  # fmt: skip
    yield Entry("empty-track.mkv", "sound", _remuxed("-i {plain} -t 0 -i {plain} -map 0:v -map 1:a -c copy"), Damaged())


def streams() -> Iterator[Entry]:
    def rich(name: str, arguments: str, audio: int = 1, subtitles: int = 0, seconds: float = 1) -> Entry:
        return Entry(name, "streams", _remuxed(arguments), Sound(audio=audio, subtitles=subtitles, seconds=seconds))

    yield rich("srt.mkv", "-i {plain} -i {subtitle} -map 0 -map 1 -c copy -metadata:s:s:0 language=eng", subtitles=1)
    yield rich("mov-text.mp4", "-i {plain} -i {subtitle} -map 0 -map 1 -c copy -c:s mov_text", subtitles=1)
    yield rich(
        "ass-and-font.mkv",
        "-i {plain} -i {subtitle} -map 0 -map 1 -c copy -c:s ass -attach {font} -metadata:s:t mimetype=font/ttf "
        "-metadata:s:t filename=f.ttf",
        subtitles=1,
    )
    yield rich("webvtt.mkv", "-i {plain} -i {subtitle} -map 0 -map 1 -c copy -c:s webvtt", subtitles=1)
    yield rich("pgs.mkv", "-i {plain} -i {pgs} -map 0 -map 1 -c copy")
    yield rich("dvb.ts", "-i {plain} -i {pgs} -map 0 -map 1 -c copy -c:s dvbsub")
    yield rich("dvd-subtitles.mkv", "-i {plain} -i {pgs} -map 0 -map 1 -c copy -c:s dvdsub")
    yield Entry(
        "late-subtitle.mkv", "streams", _remuxed("-i {plain} -i {late_subtitle} -map 0 -map 1 -c copy"),
        Sound(audio=1, subtitles=1),
    )  # fmt: skip
    yield rich("chapters.mkv", "-i {plain} -i {chapters} -map 0 -map_metadata 1 -c copy")
    yield rich("chapters.mp4", "-i {plain} -i {chapters} -map 0 -map_metadata 1 -c copy")
    yield rich("attachment.mkv", "-i {plain} -c copy -attach {cover} -metadata:s:t mimetype=image/jpeg")
    yield rich("cover-art.mp4", "-i {plain} -i {cover} -map 0 -map 1 -c copy -disposition:v:1 attached_pic")
    yield rich("cover-art-first.mp4", "-i {plain} -i {cover} -map 1 -map 0 -c copy -disposition:v:0 attached_pic")
    yield rich("two-videos.mkv", "-i {plain} -i {frames} -map 0 -map 1 -c copy")
    yield rich(
        "two-videos.mp4", "-i {plain} -i {frames} -map 1 -map 0 -c copy -disposition:v:0 0 -disposition:v:1 default"
    )
    yield rich("time-code.mov", "-i {plain} -c copy -timecode 01:02:03:04")
    yield rich("data-stream.ts", "-i {plain} -f data -i {font} -map 0 -map 1 -c copy")
    yield rich("loud-metadata.mkv", "-i {plain} -c copy -metadata title='a=b;c\\#d' -metadata comment=" + "x" * 5000)


def containers() -> Iterator[Entry]:
    def held(
        name: str, codecs: str, picture: str = PICTURE, shown: tuple[int, int] = (64, 48), seconds: float = 1
    ) -> Entry:
        return Entry(name, "container", _encoded(codecs, picture, _tone(seconds)), Sound(shown, seconds, audio=1))

    def mute(name: str, codecs: str, picture: str = PICTURE, truth: Truth | None = None) -> Entry:
        return Entry(name, "container", _encoded(codecs, picture), truth or Sound())

    yield held("broadcast.ts", f"{_MPEG2} -c:a mp2")
    yield held("camera.m2ts", f"{X264} -c:a ac3")
    yield held("disc.vob", f"{_MPEG2} -c:a ac3 -f vob")
    yield held("mpeg1.mpg", "-c:v mpeg1video -c:a mp2 -f mpeg")
    yield held("motion-jpeg.avi", "-c:v mjpeg -pix_fmt yuvj420p -c:a pcm_s16le")
    yield held("xvid.avi", "-c:v libxvid -bf 2 -c:a libmp3lame")
    yield held("packed-divx.avi", "-c:v mpeg4 -vtag DIVX -bf 2 -c:a libmp3lame")
    yield held("msmpeg4.avi", "-c:v msmpeg4v2 -c:a adpcm_ms")
    yield held("cinepak.avi", "-c:v cinepak -c:a pcm_u8")
    yield held("lossless.avi", "-c:v huffyuv -c:a pcm_s16le")
    yield held("ut-video.avi", "-c:v utvideo -c:a pcm_s16le")
    yield Entry("no-index.avi", "container", _streamed("avi"), Damaged())  # its header claims minutes
    yield held("windows.wmv", "-c:v wmv2 -c:a wmav2")
    yield held("old-windows.asf", "-c:v wmv1 -c:a wmav1")
    yield held("sorenson.flv", "-c:v flv -c:a libmp3lame -ar 44100")
    yield held("h264.flv", f"{X264} -c:a aac")
    yield held("vp8.webm", "-c:v libvpx -deadline realtime -c:a libvorbis")
    yield held("vp9.webm", f"{_VP9} -c:a libopus")
    yield held("av1.webm", "-c:v libsvtav1 -preset 12 -pix_fmt yuv420p -c:a libopus", _picture("64x64"), (64, 64))
    yield held("av1.mp4", "-c:v libaom-av1 -cpu-used 8 -usage realtime -pix_fmt yuv420p -c:a aac", _picture(rate="5"))
    yield held("theora.ogv", "-c:v libtheora -c:a libvorbis")
    yield held("phone.3gp", "-c:v h263 -c:a aac", _picture("176x144"), (176, 144))
    yield held("real.rm", "-c:v rv10 -c:a ac3", _picture("64x48"))
    yield held("apple.mov", "-c:v prores -c:a pcm_s16be")
    yield held("cineform.mov", "-c:v cfhd -c:a pcm_s16le -pix_fmt yuv422p10le", _picture("64x64"), (64, 64))
    yield held("jpeg2000.mkv", "-c:v jpeg2000 -c:a flac")
    yield held(
        "dnxhr.mov",
        "-c:v dnxhd -profile:v dnxhr_lb -pix_fmt yuv422p -c:a pcm_s16le",
        _picture("256x120", "5"),
        (256, 120),
    )
    yield held("studio.mxf", f"{_MPEG2} -c:a pcm_s16le")
    yield held(
        "dnxhr.mxf",
        "-c:v dnxhd -profile:v dnxhr_lb -pix_fmt yuv422p -c:a pcm_s16le",
        _picture("256x120", "25"),
        (256, 120),
    )
    yield held("tv.wtv", f"{_MPEG2} -c:a mp2")
    yield mute(
        "tape.dv",
        "-c:v dvvideo -pix_fmt yuv420p -r 25",
        "testsrc2=s=720x576:r=25:d=0.2,setsar=16/15",
        Sound((720, 576), 0.2, sar=Fraction(16, 15)),
    )
    yield mute("png.mov", "-c:v png -pix_fmt rgb24")
    yield mute("raw-picture.avi", "-c:v rawvideo -pix_fmt bgr24")
    yield mute("elementary.m2v", f"{_MPEG2} -f mpeg2video")


def wrong_names() -> Iterator[Entry]:
    def misnamed(name: str, form: str, codecs: str) -> Entry:
        return Entry(name, "wrong extension", _encoded(f"{codecs} -f {form}", PICTURE), Sound())

    yield misnamed("matroska.mp4", "matroska", X264)
    yield misnamed("webm.avi", "webm", _VP9)
    yield misnamed("mp4.mkv", "mp4", X264)
    yield misnamed("gif.mp4", "gif", "-c:v gif")
    yield misnamed("raw-h264.mp4", "h264", X264)
    yield misnamed("raw-hevc.mp4", "hevc", "-c:v libx265 -preset ultrafast -x265-params log-level=error")
    yield misnamed("ivf.mp4", "ivf", _VP9)
    yield misnamed("transport.mp4", "mpegts", X264)
    yield misnamed("nut.mkv", "nut", "-c:v ffv1")

    def impostor(
        name: str, content: bytes | Callable[[Studio], bytes], word: str = "cannot be read as a video"
    ) -> Entry:
        return Entry(name, "not a video", _bytes(content), Broken(word))

    yield impostor("jpeg.mp4", lambda studio: studio.cover.read_bytes())
    yield impostor(
        "png.mp4", lambda studio: studio.run(["-i", str(studio.cover), "-f", "image2pipe", "-c:v", "png", "pipe:1"])
    )
    yield impostor("text.mp4", b"only words\n" * 100)
    yield impostor("page.mp4", b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n")
    yield impostor("subtitle.mp4", lambda studio: studio.subtitle.read_bytes())
    yield impostor("playlist.mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nplain.ts\n#EXT-X-ENDLIST\n")
    yield impostor("list.mp4", b"ffconcat version 1.0\nfile 'plain.mp4'\n")
    yield impostor("session.mp4", b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n")
    yield impostor("manifest.mp4", b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period/></MPD>\n')
    yield impostor("program.mp4", b"\x7fELF" + bytes(range(256)) * 20)
    yield impostor("zeros.mp4", bytes(65_536))
    yield impostor("noise.mp4", random.Random(_SEED).randbytes(65_536))
    yield impostor("one-byte.mp4", b"\0")
    yield impostor("zero-bytes.mp4", b"", "0 bytes")
    yield Entry("archive.mp4", "not a video", _archive, Broken("cannot be read as a video"))
    yield Entry("mp3.mp4", "not a video", _encoded("-c:a libmp3lame -f mp3", TONE), Broken("no video stream"))
    yield Entry("wave.mp4", "not a video", _encoded("-f wav", TONE), Broken("no video stream"))


def _archive(studio: Studio, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(studio.plain, "plain.mp4")


def damage() -> Iterator[Entry]:
    def cut(name: str, whole: str, part: float, truth: Truth) -> Entry:
        return Entry(name, "truncated", _bytes(lambda studio: _first(getattr(studio, whole), part)), truth)

    for tenth in range(10):
        percent = 5 + 10 * tenth
        yield cut(f"cut-at-{percent}-percent.mp4", "longer", percent / 100, Broken("cannot be read as a video"))
    for percent in (20, 40, 60, 80):
        yield cut(f"cut-at-{percent}-percent.mkv", "longer_matroska", percent / 100, Broken("truncated", viewable=True))
        yield cut(f"cut-at-{percent}-percent-fast-start.mp4", "longer_faststart", percent / 100, Broken("truncated"))
    yield Entry("cut.ts", "truncated", _bytes(lambda studio: _first(studio.ts, 0.6)), Damaged())
    yield Entry(
        "only-the-head.mp4",
        "truncated",
        _bytes(lambda studio: studio.plain.read_bytes()[:32]),
        Broken("cannot be read"),
    )
    yield Entry(
        "no-index.mp4", "truncated", _bytes(lambda studio: _without(studio.plain, b"moov")), Broken("cannot be read")
    )
    yield Entry(
        "no-data.mp4", "truncated", _bytes(lambda studio: _without(studio.plain, b"mdat")), Broken("cannot be read")
    )
    yield Entry("hole-at-the-end.mp4", "hole", _sparse_tail, Broken("cannot be", viewable=True))
    yield Entry("hole-in-the-middle.mp4", "hole", _bytes(lambda studio: _holed(studio.sparse, 0.4, 0.6)), Damaged())
    yield Entry(
        "hole-at-the-end.mkv",
        "hole",
        _bytes(lambda studio: _holed(studio.longer_matroska, 0.5, 1.0)),
        Broken("cannot be", viewable=True),
    )
    yield Entry(
        "tail-of-garbage.mp4",
        "garbage",
        _bytes(lambda studio: studio.plain.read_bytes() + b"garbage" * 99),
        Sound(audio=1),
    )
    yield Entry(
        "head-of-garbage.ts", "garbage", _bytes(lambda studio: b"garbage" * 9 + studio.ts.read_bytes()), Sound(audio=1)
    )
    yield Entry("claims-an-hour.mp4", "lies", _bytes(_claiming_an_hour), Damaged())
    yield Entry(
        "claims-a-giant-box.mp4", "lies", _bytes(lambda studio: studio.plain.read_bytes()[:-8] + b"\xff" * 8), Damaged()
    )


def _first(path: Path, part: float) -> bytes:
    whole = path.read_bytes()
    return whole[: int(len(whole) * part)]


def _holed(path: Path, start: float, end: float) -> bytes:
    whole = bytearray(path.read_bytes())
    begin, stop = int(len(whole) * start), int(len(whole) * end)
    whole[begin:stop] = bytes(stop - begin)
    return bytes(whole)


def _boxes(whole: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(whole):
        size, kind = struct.unpack_from(">I4s", whole, at)
        yield kind, whole[at : at + size]
        at += max(size, 8)


def _without(path: Path, unwanted: bytes) -> bytes:
    return b"".join(box for kind, box in _boxes(path.read_bytes()) if kind != unwanted)


def _sparse_tail(studio: Studio, path: Path) -> None:
    """A download that reserved its space and stopped: an index, half of the data, and then nothing on the disk."""
    studio.run(["-i", str(studio.sparse), "-c", "copy", "-movflags", "+faststart", f"file:{path}"])
    whole = path.stat().st_size
    os.truncate(path, whole // 2)
    os.truncate(path, whole)


def _claiming_an_hour(studio: Studio) -> bytes:
    whole = bytearray(studio.plain.read_bytes())
    at = whole.index(b"mvhd") + 16
    scale, _ = struct.unpack_from(">II", whole, at)
    struct.pack_into(">I", whole, at + 4, 3600 * scale)
    return bytes(whole)


def flips() -> Iterator[Entry]:
    """A hundred files with ten bits turned each, half of them in MP4."""
    for number in range(BIT_FLIPS):
        suffix = ("mp4", "mkv")[number % 2]
        yield Entry(f"flipped-{number:02}.{suffix}", "bit flips", _flipped(number, suffix), Damaged())


def _flipped(number: int, suffix: str) -> Callable[[Studio, Path], None]:
    def make(studio: Studio, path: Path) -> None:
        whole = bytearray((studio.plain if suffix == "mp4" else studio.matroska).read_bytes())
        chance = random.Random(_SEED + number)
        for _ in range(10):
            whole[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(whole)

    return make


HARD_NAMES = (
    "-leading-dash.mp4",
    "-i.mp4",
    'quo\'te "double" `tick`.mp4',
    "new\nline.mp4",
    "tab\tand\x01control.mp4",
    "\x1b[31mred\x1b[0m.mp4",
    "🎬 emoji 👩‍👩‍👧.mp4",
    " leading and trailing .mp4",
    "100%d %05d %s %%.mp4",
    "colon: a:b.mp4",
    "back\\slash\\n.mp4",
    "file:again.mp4",
    "pipe:0.mp4",
    "concat:a|b.mp4",
    "$(touch owned);&& rm *.mp4",
    "glob[a-z]*?.mp4",
    "braces {x} {0} {{y}}.mp4",
    "dots..mp4",
    "right-\u202egnp.mp4",
    "zero\u200bwidth\ufeff.mp4",
    "caf\u00e9.mp4",
    "cafe\u0301.mp4",
    "UPPER.MP4",
    "#hash?query=1&b=2.mp4",
    "comma,semi;equals=quote'[v].mp4",
    "~.mp4",
    "x" * 251 + ".mp4",
    "é" * 125 + ".mp4",
)


def names() -> Iterator[Entry]:
    for name in HARD_NAMES:
        yield Entry(name, "name", _copy, Sound(audio=1))
    yield Entry(os.fsdecode(b"latin-\xe9\xff.mp4"), "name", _copy, Skipped("not valid UTF-8"))
    for name in ("trailing-dot.mp4.", ".hidden.mp4", ".mp4", "half.partial.mp4", "video.mp4~", "no-extension"):
        yield Entry(name, "name", _copy, Unseen())


def links() -> Iterator[Entry]:
    def link(name: str, target: Callable[[Studio, Path], str], truth: Truth) -> Entry:
        return Entry(name, "not a plain file", lambda studio, path: path.symlink_to(target(studio, path)), truth)

    def beside(studio: Studio, path: Path) -> str:
        target = path.with_name("target.mp4")
        _copy(studio, target)
        return target.name

    yield link("link-inside.mp4", beside, Sound(audio=1))
    yield link("link-outside.mp4", lambda studio, path: str(studio.plain), Skipped("leads out of the library"))
    yield link("link-to-a-device.mp4", lambda studio, path: "/dev/zero", Skipped("leads out of the library"))
    yield link("link-to-itself.mp4", lambda studio, path: path.name, Skipped("symbolic links"))
    yield link("link-to-nothing.mp4", lambda studio, path: "gone.mp4", Skipped("No such file"))
    yield link("link-to-this-folder", lambda studio, path: ".", Skipped("visited already"))
    yield Entry("fifo.mp4", "not a plain file", lambda studio, path: os.mkfifo(path), Skipped("not a regular file"))
    yield Entry("socket.mp4", "not a plain file", _socket, Skipped("not a regular file"))
    yield Entry("folder.mp4", "not a plain file", lambda studio, path: path.mkdir(), Unseen())
    yield Entry("two-names.mp4", "not a plain file", _two_names, Sound(audio=1))
    if os.geteuid() != 0:  # nothing is unreadable to root
        yield Entry("unreadable.mp4", "not a plain file", _unreadable, Broken("Permission denied"))


def _socket(studio: Studio, path: Path) -> None:
    """Bound under a short name: a socket's address holds 108 bytes."""
    short = studio.scratch / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(short))
    short.rename(path)


def _two_names(studio: Studio, path: Path) -> None:
    _copy(studio, path)
    path.with_name("two-names-again.mp4").hardlink_to(path)


def _unreadable(studio: Studio, path: Path) -> None:
    _copy(studio, path)
    path.chmod(0)


_SECTIONS = (
    sizes, turns, pixels, rates, times, sounds, streams, containers, wrong_names, damage, names, links, flips,
)  # fmt: skip


def corpus() -> list[Entry]:
    return [entry for section in _SECTIONS for entry in section()]
