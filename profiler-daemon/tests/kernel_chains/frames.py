# For gdb: the frames of every thread, leaf first, without those of inlined functions.
import gdb

gdb.execute("set backtrace past-main on")
for thread in gdb.selected_inferior().threads():
    thread.switch()
    print("THREAD", thread.ptid[1])
    frame = gdb.newest_frame()
    while frame is not None:
        if frame.type() != gdb.INLINE_FRAME:
            print("FRAME", frame.pc(), frame.name() or "")
        frame = frame.older()
