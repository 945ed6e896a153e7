local core = require("wgtwo.core")
local fork = require("fork")
local pair = require("spec.support.pair")
local process = require("spec.support.process")

local message, text = pair.message, pair.text

local sanitized <const> = os.getenv("WGTWO_TEST_SANITIZER") ~= nil
local SIGALRM <const> = 14

-- Runs f in a forked child, which has so many seconds.
local function try_in_child(f, ending, seconds)
  local path = os.tmpname()
  local pid = fork.fork(seconds)
  if pid == 0 then
    local out = io.open(path, "w")
    local ok, err = xpcall(f, debug.traceback, function(line) out:write(line, "\n") end)
    if not ok then out:write("FAILED ", err, "\n") end
    out:close()
    if ending == "leave" then fork.leave(ok and 0 or 1) end
    os.exit(ok, ending == "close")
  end
  local how, number = fork.wait(pid)
  local file <close> = assert(io.open(path))
  os.remove(path)
  return file:read("a"), how, number
end

-- Runs f in a forked child; what it says with its argument comes back, and how the child ended.
-- ending: "leave" (at once), "exit" (os.exit, the state stays open), "close" (the state is closed first).
-- The sanitizers' allocators, unlike the C library's, keep their locks in a child: where gRPC's threads were
-- allocating when it was forked, it hangs there, and another one is tried.
local function in_child(f, ending)
  for _ = 1, sanitized and 4 or 0 do
    local said, how, number = try_in_child(f, ending, 5)
    if how ~= "signal" or number ~= SIGALRM then return said, how, number end
  end
  return try_in_child(f, ending, 20)
end

describe("fork", function()
  local server, target, channel

  before_each(function()
    server, channel, target = pair.connected()
  end)

  after_each(function()
    channel:close()
    server:close()
  end)

  it("after use: all that would touch gRPC raises a clear error in the child, and closing does nothing", function()
    local call <close> = pair.call(channel, "bidi")
    local accepted <close> = pair.take(server)
    local acker <close> = core.acker(channel,
      { path = "/x/Ack", reply = pair.TEXT, expected = "", timeout = 10, limit = 10 })
    local forwarder <close> = assert(core.forwarder({ target = target }))
    local said, how, number = in_child(function(say)
      local attempts = {
        poll = function() core.poll(0, {}) end,
        pollfd = function() core.pollfd() end,
        wake = function() core.wake() end,
        channel = function() core.channel({ target = target, plaintext = true }) end,
        server = function() core.server() end,
        forwarder = function() core.forwarder({ target = target }) end,
        state = function() channel:state() end,
        call = function() pair.call(channel, "unary") end,
        take = function() call:take() end,
        write = function() call:write("x") end,
        cancel = function() call:cancel() end,
        status = function() call:status() end,
        send = function() acker:send("x", 1, 0, false) end,
        counts = function() acker:counts() end,
        accept = function() server:take() end,
        reply = function() accepted:write("x") end,
        reset = function() forwarder:reset() end,
      }
      for name, attempt in pairs(attempts) do
        local ok, err = pcall(attempt)
        assert(not ok, name .. " did not raise")
        assert(err:find("used before this process was forked", 1, true), name .. ": " .. err)
      end
      for _, op in ipairs({ call, accepted, acker, forwarder, channel, server }) do
        assert(tostring(op):find("wgtwo.", 1, true))
        op:close()
      end
      collectgarbage()
      say(("%d alive, now %s"):format(core.live(), math.type(core.now())))
    end, "close")
    assert.equal("exit", how)
    assert.equal(0, number, said)
    assert.matches("alive, now float", said)

    -- and the parent goes on
    pair.write(call, message("still here"))
    assert.equal("still here", text(pair.take(accepted)))
    accepted:finish()
    assert.equal(0, pair.finish(call).code)
  end)

  for _, ending in ipairs({ "leave", "exit", "close" }) do
    it("after use: a child that does nothing with it ends at once, by " .. ending, function()
      local call <close> = pair.call(channel, "server")
      local accepted <close> = pair.take(server)
      for _ = 1, 20 do
        accepted:write(message("event"))
        local _, how, number = in_child(function() collectgarbage() end, ending)
        assert.equal("exit", how)
        assert.equal(0, number)
        assert.equal("event", text(pair.take(call)))
      end
    end)
  end

  it("after use: a new Lua state in the child gets the same error, instead of a channel that never connects", function()
    local said, how, number = in_child(function(say)
      say(select(2, fork.state([[require("wgtwo.core").channel{ target = "127.0.0.1:1", plaintext = true }]])))
      say(tostring(fork.state([[assert(require("wgtwo.core").poll(0, {}) == 0)]])))
    end, "leave")
    assert.match("forked", said)
    assert.match("\ntrue\n$", said)
    assert.same({ "exit", 0 }, { how, number })
  end)

  it("after use: a child of the child gets the same error", function()
    local said = in_child(function(say)
      local inner = in_child(function(tell) tell(select(2, pcall(core.poll, 0, {}))) end, "leave")
      say(inner)
    end, "leave")
    assert.matches("used before this process was forked", said)
  end)

  it("before use: parent and children each have a loop of their own", function()
    local result = process.lua([[
      local core = require("wgtwo.core")
      local fork = require("fork")
      local pids = {}
      for i = 1, 4 do
        local pid = fork.fork()
        if pid == 0 then break end
        pids[i] = pid
      end
      local pair = require("spec.support.pair")
      for _ = 1, 50 do
        local server, target = pair.server()
        local channel = pair.channel(target)
        local call = pair.call(channel, "unary")
        local accepted = pair.take(server)
        accepted:write(pair.message("x"))
        accepted:finish()
        assert(pair.text(pair.take(call)) == "x")
        for _, op in ipairs({ call, accepted, channel, server }) do op:close() end
      end
      if #pids < 4 then os.exit(true, true) end
      for i = 1, 4 do
        local how, number = fork.wait(pids[i])
        assert(how == "exit" and number == 0, how .. " " .. number)
      end
      print("all well")
    ]])
    assert.equal("all well\n", result.output, result.errors)
  end)

  it("is not what io.popen and os.execute do: they work with a stream open, and inherit no descriptor", function()
    local call <close> = pair.call(channel, "server")
    local accepted <close> = pair.take(server)
    local forwarder <close> = assert(core.forwarder({ target = target }))
    assert.is_number(forwarder:port())
    for i = 1, 5 do
      accepted:write(message("event " .. i))
      local pipe = assert(io.popen("ls -l /proc/self/fd"))
      local listing = pipe:read("a")
      assert.is_true(pipe:close())
      assert.is_nil(listing:match("socket:%["), listing)
      assert.is_nil(listing:match("anon_inode"), listing)
      assert.is_true(os.execute("true"))
      assert.equal("event " .. i, text(pair.take(call)))
    end
  end)
end)
