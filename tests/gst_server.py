#!/usr/bin/python3
"""An RTSP server by others, GStreamer's, for tests: what it sends and takes is not our own idea of the protocol.

Run by the system's Python, to which Debian's packages belong: ``/usr/bin/python3 gst_server.py FOLDER PORT NAME
PASSWORD``. It says in one line of JSON at which ports it listens, or what is ``missing``, and ends with its standard
input. Each port has the paths

* ``/h264``, ``/h265``, ``/mjpeg``: colour bars of 128×96, 25 a second, with A-law sound beside;
* ``/changing``: H.264 which is 128×96 and 192×144 in turn, a second each;
* ``/record/h264``, ``/record/h265``: takes a stream, and writes it to ``FOLDER/NUMBER.ts``.

``open`` is the port that was wished for, or any for 0. Behind ``basic`` and ``digest`` all that is for NAME alone.
"""

from __future__ import annotations

import itertools
import json
import os
import sys

try:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtsp", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtsp, GstRtspServer
except (ImportError, ValueError) as absent:
    sys.stdout.write(json.dumps({"missing": str(absent)}) + "\n")
    sys.exit()

RATE = 25
SIZES = ((128, 96), (192, 144))
_ROLE = "viewer"

_BARS = f"videotestsrc is-live=true ! capsfilter name=size ! video/x-raw,format=I420,framerate={RATE}/1 ! "
_SOUND = " audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay1 pt=8"
_FAST = "tune=zerolatency speed-preset=ultrafast"
_H264 = f"x264enc {_FAST} key-int-max={RATE} ! rtph264pay config-interval=-1 name=pay0 pt=96"
_SENT = {
    "h264": _H264 + _SOUND,
    "h265": f"x265enc {_FAST} key-int-max={RATE} ! rtph265pay config-interval=-1 name=pay0 pt=96" + _SOUND,
    "mjpeg": "jpegenc ! rtpjpegpay name=pay0 pt=26" + _SOUND,
    "changing": _H264,
}
_TAKEN = ("h264", "h265")
_ELEMENTS = ("videotestsrc", "alawenc", "rtph264pay", "jpegenc", "x264enc", "x265enc", "h265parse", "mpegtsmux")


def caps(size: tuple[int, int]) -> Gst.Caps:
    return Gst.Caps.from_string("video/x-raw,width={},height={}".format(*size))


def sending(name: str) -> GstRtspServer.RTSPMediaFactory:
    def configure(_factory: object, media: GstRtspServer.RTSPMedia) -> None:
        scale = media.get_element().get_by_name("size")
        sizes = itertools.cycle(SIZES)
        scale.set_property("caps", caps(next(sizes)))

        def change() -> bool:
            scale.set_property("caps", caps(next(sizes)))
            return True

        if name == "changing":
            timer = GLib.timeout_add(1000, change)
            media.connect("unprepared", lambda _media: GLib.source_remove(timer))

    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(f"( {_BARS}{_SENT[name]} )")
    factory.set_shared(True)
    factory.connect("media-configure", configure)
    return factory


def taking(codec: str, folder: str) -> GstRtspServer.RTSPMediaFactory:
    def configure(_factory: object, media: GstRtspServer.RTSPMedia) -> None:
        number = len(os.listdir(folder))  # noqa: PTH208
        media.get_element().get_by_name("file").set_property("location", f"{folder}/{number}.ts")

    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(f"( rtp{codec}depay name=depay0 ! {codec}parse ! mpegtsmux ! filesink name=file buffer-mode=2 )")
    factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
    factory.connect("media-configure", configure)
    return factory


def guard(server: GstRtspServer.RTSPServer, method: GstRtsp.RTSPAuthMethod, *, name: str, password: str) -> None:
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", _ROLE)
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(method)
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(name, password), token)
    auth.add_digest(name, password, token)
    server.set_auth(auth)


def serve(folder: str, *, port: int = 0) -> GstRtspServer.RTSPServer:
    """A server that is not attached yet."""
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(port))
    permissions = GstRtspServer.RTSPPermissions()
    for permission in ("media.factory.access", "media.factory.construct"):
        permissions.add_permission_for_role(_ROLE, permission, True)
    factories = {f"/{name}": sending(name) for name in _SENT}
    factories |= {f"/record/{codec}": taking(codec, folder) for codec in _TAKEN}
    for path, factory in factories.items():
        factory.set_permissions(permissions)
        server.get_mount_points().add_factory(path, factory)
    return server


def main(folder: str, port: str, name: str, password: str) -> None:
    Gst.init(None)
    missing = [element for element in _ELEMENTS if Gst.ElementFactory.find(element) is None]
    if missing:
        say({"missing": ", ".join(missing)})
        return
    servers = {"open": serve(folder, port=int(port)), "basic": serve(folder), "digest": serve(folder)}
    guard(servers["basic"], GstRtsp.RTSPAuthMethod.BASIC, name=name, password=password)
    guard(servers["digest"], GstRtsp.RTSPAuthMethod.DIGEST, name=name, password=password)
    for door, server in servers.items():
        if not server.attach(None):
            sys.exit(f"cannot listen for {door}")
    loop = GLib.MainLoop()
    GLib.io_add_watch(0, GLib.PRIORITY_DEFAULT, GLib.IOCondition.HUP, lambda *_: loop.quit())
    say({door: server.get_bound_port() for door, server in servers.items()})
    loop.run()


def say(facts: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
