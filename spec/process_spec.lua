local core = require("wgtwo.core")
local fork = require("fork")
local live = require("spec.support.live")
local pair = require("spec.support.pair")

-- All that a descriptor gives until its end.
local function read_all(fd)
  local watch <close> = assert(core.watch(fd)) -- luacheck: ignore 211
  local parts = {}
  pair.on_news(function()
    local text = core.read(fd, 4096)
    while text and text ~= "" do
      parts[#parts + 1] = text
      text = core.read(fd, 4096)
    end
    return text == "" or false
  end, "the end of the output")
  return table.concat(parts)
end

local function run(argv, env)
  local process <close> = assert(core.spawn({ argv = argv, env = env }))
  process:finish()
  local output = read_all(process:stdout())
  return output, pair.take(process)
end

local function sh(script, env)
  return run({ "sh", "-c", script }, env)
end

describe("a child process", function()
  it("gives its output and its exit code", function()
    local output, code, signal = sh("echo one; echo two; exit 3")
    assert.equal("one\ntwo\n", output)
    assert.equal(3, code)
    assert.is_nil(signal)
  end)

  it("tells which signal ended it", function()
    local process <close> = core.spawn({ argv = { "cat" } })
    assert.is_false(process:take())
    assert.is_true(process:kill(15))
    local code, signal = pair.take(process)
    assert.equal(128 + 15, code)
    assert.equal(15, signal)
    assert.is_false(process:kill(15))
    assert.is_nil(process:pid())
    assert.equal(128 + 15, (process:take()))
  end)

  it("whose end something else has seen has ended too: closing it does not wait for ever", function()
    local process <close> = core.spawn({ argv = { "true" } })
    fork.wait(process:pid())
    assert.equal(-1, (pair.take(process)))
    assert.is_nil(process:pid())
    assert.is_false(process:kill(15))
    local dropped = core.spawn({ argv = { "true" } })
    fork.wait(dropped:pid())
    dropped:close()
  end)

  it("gets arguments as they are", function()
    assert.equal("[a b][*][$HOME][]", (run({ "printf", "[%s]", "a b", "*", "$HOME", "" })))
  end)

  it("gets the environment, changed", function()
    assert.equal("[x y][]\n", (sh('echo "[$WGTWO_A][$HOME]"', { WGTWO_A = "x y", HOME = false })))
    assert.equal(("[%s]\n"):format(os.getenv("HOME")), (sh('echo "[$HOME]"')))
  end)

  it("gets what is written to it, and the end of it", function()
    local process <close> = core.spawn({ argv = { "cat" } })
    assert.is_true(process:write("text\0"))
    process:finish()
    assert.equal("text\0", read_all(process:stdout()))
    assert.equal(0, (pair.take(process)))
    local none, text = process:write("more")
    assert.is_nil(none)
    assert.match("its input is closed", text)
  end)

  it("that reads nothing more makes a write fail, not this process end", function()
    local process <close> = core.spawn({ argv = { "true" } })
    pair.take(process)
    local none, text = process:write("text")
    assert.is_nil(none)
    assert.match("^cannot write to the process: ", text)
  end)

  it("has none of this process's other descriptors, and no signal blocked", function()
    local file <close> = assert(io.tmpfile())
    file:setvbuf("no")
    assert.equal("0\n1\n2\n3\n", (run({ "ls", "/proc/self/fd" }))) -- 3 is that folder itself
    assert.match("SigBlk:%s*0+\n", (sh("grep SigBlk /proc/self/status")))
  end)

  it("that cannot be started is told with the reason", function()
    local none, text = core.spawn({ argv = { "/nonexistent/program" } })
    assert.is_nil(none)
    assert.equal("cannot start /nonexistent/program: No such file or directory", text)
    none, text = core.spawn({ argv = { "/etc/passwd" } })
    assert.is_nil(none)
    assert.equal("cannot start /etc/passwd: Permission denied", text)
    assert.has_error(function() core.spawn({ argv = {} }) end)
    assert.has_error(function() core.spawn({ argv = { 1 } }) end)
    assert.has_error(function() core.spawn({ argv = { "a\0b" } }) end)
    assert.has_error(function() core.spawn({ argv = { "true" }, env = "x" }) end)
  end)

  it("ends with the end of its input when it is closed", function()
    local process = core.spawn({ argv = { "sh", "-c", "cat; kill -9 $$" }, grace = 300 })
    process:close()
    process:close()
    assert.has_error(function() process:take() end)
  end)

  it("that does not end by itself is ended, and waited for", function()
    local process = core.spawn({
      argv = { "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done" }, grace = 0.1,
    })
    local pid, fd = process:pid(), process:stdout()
    local watch = core.watch(fd)
    pair.on_news(function() return core.read(fd, 6) end, "the ready line")
    watch:close()
    process:close()
    assert.is_nil(io.open(("/proc/%d/stat"):format(pid)))
  end)

  it("is ended when it is collected", function()
    local pid = core.spawn({ argv = { "cat" } }):pid()
    assert.equal(0, (live.settle()))
    assert.is_nil(io.open(("/proc/%d/stat"):format(pid)))
  end)

  it("leaves no descriptor", function()
    local before = live.fds()
    for _ = 1, 10 do sh("true") end
    core.spawn({ argv = { "/nonexistent/program" } })
    assert.equal(before, live.fds())
  end)

  it("that has ended does not keep the loop awake", function()
    local process <close> = core.spawn({ argv = { "true" } })
    pair.on_news(function() return core.read(process:stdout(), 1) == "" end, "the end")
    local list, news = {}, 0
    while core.poll(0.2, list) > 0 do
      news = news + 1
      assert.is_true(news < 10)
    end
  end)
end)

describe("a watch", function()
  it("tells what can be read, once", function()
    local process <close> = core.spawn({ argv = { "cat" } })
    local fd = process:stdout()
    local watch <close> = core.watch(fd)
    assert.is_false(watch:take())
    assert.is_false(core.read(fd, 10))
    process:write("0123456789abc")
    assert.is_true(pair.take(watch))
    assert.equal("0123456789", core.read(fd, 10))
    assert.is_true(watch:take())
    assert.equal("abc", core.read(fd, 10))
    assert.is_false(watch:take())
    process:finish()
    assert.is_true(pair.take(watch))
    assert.equal("", core.read(fd, 10))
  end)

  it("of a signal tells that it has come, once, and the signal does nothing else", function()
    local SIGUSR1 <const> = 10
    local function is_blocked()
      for line in io.lines("/proc/thread-self/status") do
        local set = line:match("^SigBlk:%s*(%x+)")
        if set then return tonumber(set, 16) >> (SIGUSR1 - 1) & 1 == 1 end
      end
    end
    local watch <close> = core.watch_signal(SIGUSR1)
    assert.is_true(is_blocked())
    for _ = 1, 2 do
      assert.is_false(watch:take())
      os.execute("kill -USR1 $PPID")
      assert.is_true(pair.take(watch))
    end
    assert.is_false(watch:take())
    watch:close()
    assert.is_false(is_blocked())
    assert.has_error(function() core.watch_signal(0) end)
    assert.has_error(function() core.watch_signal(1000) end)
    assert.has_error(function() core.watch_signal((1 << 32) + SIGUSR1) end)
  end)

  it("of a descriptor that was closed before it, and that a forked child still holds, is told of no more", function()
    local child = assert(core.spawn({ argv = { "cat" } }))
    local watch = core.watch(child:stdout())
    local holder = fork.fork()
    if holder == 0 then
      require("luv").sleep(20000)
      fork.leave(0)
    end
    child:close()
    watch:close()
    assert.equal(0, core.poll(0.05, {}))
    assert.equal(0, core.poll(0.05, {}))
    os.execute("kill -KILL " .. holder)
    fork.wait(holder)
  end)

  it("refuses what is no descriptor", function()
    local none, text = core.watch(9999)
    assert.is_nil(none)
    assert.match("descriptor 9999 cannot be watched: Bad file descriptor", text)
    assert.has_error(function() core.watch(-1) end)
    assert.has_error(function() core.watch("x") end)
    none, text = core.read(9999, 1)
    assert.is_nil(none)
    assert.match("cannot read descriptor 9999", text)
  end)
end)
