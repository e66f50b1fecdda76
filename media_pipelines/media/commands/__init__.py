"""ffmpeg's arguments, and nothing else: pure functions from a probe to an argument list, run by `ffmpeg.run`.

Every file is named `file:…`, so that a name with a leading dash or a colon is a name; every input may open files only.
Outputs overwrite: they are `.partial` files or temporaries of ours.
"""
