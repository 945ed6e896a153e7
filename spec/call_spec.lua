local core = require("wgtwo.core")
local live = require("spec.support.live")
local pair = require("spec.support.pair")

local message, text = pair.message, pair.text

describe("call", function()
  local server, target, channel, open

  -- Starts a call, and accepts it: client's side, server's side.
  local function connect(kind, options) return pair.accepted(channel, server, open, kind, options) end

  local function start(kind, options)
    local call = pair.call(channel, kind, options)
    open[#open + 1] = call
    return call
  end

  before_each(function()
    open = {}
    server, channel, target = pair.connected()
  end)

  after_each(function() pair.close(open, channel, server) end)

  describe("unary", function()
    it("carries the request, metadata, the reply, and everything of the answer", function()
      local call, accepted = connect("unary", {
        request = message("hello"), timeout = 30,
        metadata = { { "authorization", "Bearer x" }, { "twice", "1" }, { "twice", "2" }, { "raw-bin", "\0\255" } },
      })
      assert.equal("/test.Service/Method", accepted:path())
      local received = {}
      for _, p in ipairs(accepted:metadata()) do
        received[p[1]] = received[p[1]] and received[p[1]] .. "," .. p[2] or p[2]
      end
      assert.equal("Bearer x", received.authorization)
      assert.equal("1,2", received.twice)
      assert.equal("\0\255", received["raw-bin"])
      assert.is_true(accepted:deadline() > 20 and accepted:deadline() < 31) -- gRPC rounds it on its way
      assert.equal("hello", text(pair.take(accepted)))
      assert.is_false(call:take())
      assert.is_nil(call:status())

      accepted:headers({ { "early", "a" } })
      accepted:write(message("world"))
      accepted:finish(0, "", { { "late", "b" }, { "bytes-bin", "\1\2" } })
      assert.equal("world", text(pair.take(call)))
      assert.is_nil(call:take())
      local status = call:status()
      assert.equal(0, status.code)
      assert.equal("", status.message)
      assert.same({ { "early", "a" } }, status.headers)
      assert.same({ { "early", "a" } }, call:headers())
      assert.same({ { "late", "b" }, { "bytes-bin", "\1\2" } }, status.metadata)
      assert.matches("127%.0%.0%.1:" .. target:match("%d+$"), status.peer)
      assert.is_nil(status.sent)
    end)

    it("gives the status, its details and its metadata of a failure", function()
      local call, accepted = connect("unary")
      local details = "\8\5\18\4nope"
      accepted:finish(5, "no such thing", { { "grpc-status-details-bin", details }, { "hint", "look elsewhere" } })
      local status, texts = pair.finish(call)
      assert.same({}, texts)
      assert.equal(5, status.code)
      assert.equal("no such thing", status.message)
      assert.same({ { "grpc-status-details-bin", details }, { "hint", "look elsewhere" } }, status.metadata)
    end)

    it("has a reply of no bytes, which differs from none", function()
      local call, accepted = connect("unary", { request = "" })
      assert.equal("", pair.take(accepted))
      accepted:write("")
      accepted:finish()
      assert.equal("", core.bytes(pair.take(call)))
      assert.is_nil(call:take())
    end)

    it("takes no writes", function()
      local call = connect("unary")
      assert.is_nil(call:write("x"))
      assert.is_nil(call:finish())
    end)

    it("says whether the request was sent, where that is asked for", function()
      local call, accepted = connect("unary", { track = true })
      accepted:finish(14, "go away")
      assert.is_true(pair.finish(call).sent)

      local forwarder <close> = assert(core.forwarder({ target = target }))
      forwarder:set({ refuse = true })
      local nowhere <close> = pair.channel("127.0.0.1:" .. forwarder:port())
      local failed <close> = pair.call(nowhere, "unary", { track = true })
      local status = pair.finish(failed)
      assert.equal(14, status.code)
      assert.is_false(status.sent)
    end)
  end)

  describe("server stream", function()
    it("gives every message in order, then the end", function()
      local call, accepted = connect("server")
      assert.equal("request", text(pair.take(accepted)))
      assert.is_nil(pair.take(accepted))
      for i = 1, 100 do pair.write(accepted, message("event " .. i)) end
      accepted:finish(0, "", { { "count", "100" } })
      local status, texts = pair.finish(call)
      assert.equal(100, #texts)
      for i = 1, 100 do assert.equal("event " .. i, texts[i]) end
      assert.equal(0, status.code)
      assert.same({ { "count", "100" } }, status.metadata)
      assert.is_nil(call:take())
    end)

    it("gives what came before a failure, then the failure", function()
      local call, accepted = connect("server")
      accepted:write(message("one"))
      accepted:write(message("two"))
      accepted:finish(8, "enough")
      local status, texts = pair.finish(call)
      assert.same({ "one", "two" }, texts)
      assert.equal(8, status.code)
      assert.equal("enough", status.message)
    end)

    it("shows the initial metadata before the first message", function()
      local call, accepted = connect("server")
      assert.is_nil(call:headers())
      accepted:headers({ { "early", "bird" } })
      assert.same({ { "early", "bird" } }, pair.until_(function() return call:headers() end))
      assert.is_false(call:take())
      accepted:finish()
      pair.finish(call)
    end)

    it("has no deadline unless it is given one", function()
      local _, accepted = connect("server")
      assert.is_nil(accepted:deadline())
    end)
  end)

  describe("client stream", function()
    it("sends what is written, in order, then the half-close; one write at a time", function()
      local call, accepted = connect("client")
      local refused = 0
      for i = 1, 50 do
        if not call:writable() then refused = refused + 1 end
        assert.is_true(pair.write(call, message("part " .. i)))
      end
      pair.half_close(call)
      assert.is_false(call:writable())
      for i = 1, 50 do assert.equal("part " .. i, text(pair.take(accepted))) end
      assert.is_nil(pair.take(accepted))
      accepted:write(message("all 50"))
      accepted:finish()
      local status, texts = pair.finish(call)
      assert.same({ "all 50" }, texts)
      assert.equal(0, status.code)
    end)

    it("refuses a second write while the first is under way, and everything after the half-close", function()
      local forwarder <close> = assert(core.forwarder({ target = target }))
      local through <close> = pair.channel("127.0.0.1:" .. forwarder:port())
      local call <close> = pair.call(through, "client")
      local accepted <close> = pair.take(server)
      forwarder:set({ half_open = true }) -- nobody reads
      local large = message(("x"):rep(15 * 1024 * 1024)) -- more than the kernel's buffers take
      assert.is_true(call:write(large))
      assert.is_false(call:write("y"))
      assert.is_false(call:finish())
      assert.is_false(call:writable())
      forwarder:clear()
      assert.equal(#large, #pair.take(accepted))
      pair.half_close(call)
      assert.is_nil(call:write("z"))
      assert.is_nil(call:finish())
    end)

    it("takes no write once it is over, and the status says why", function()
      local call, accepted = connect("client")
      accepted:finish(9, "not now")
      local status = pair.finish(call)
      assert.equal(9, status.code)
      assert.is_nil(call:write("x"))
      assert.is_nil(call:finish())
    end)

    it("ends a write that is under way when the call ends", function()
      local call, accepted = connect("client")
      call:write(message(("x"):rep(8 * 1024 * 1024)))
      accepted:reset(14)
      assert.equal(14, pair.finish(call).code)
      pair.until_(function() return call:write("x") == nil end)
    end)
  end)

  it("bidi: questions and answers alternate, and both sides end on their own", function()
    local call, accepted = connect("bidi")
    for i = 1, 20 do
      pair.write(call, message("question " .. i))
      assert.equal("question " .. i, text(pair.take(accepted)))
      pair.write(accepted, message("answer " .. i))
      assert.equal("answer " .. i, text(pair.take(call)))
    end
    pair.half_close(call)
    assert.is_nil(pair.take(accepted))
    pair.write(accepted, message("one more"))
    accepted:finish()
    assert.same({ "one more" }, select(2, pair.finish(call)))
  end)

  describe("deadline", function()
    it("ends a unary call that nobody answers", function()
      local call = connect("unary", { timeout = 0.1 })
      local status = pair.finish(call)
      assert.equal(4, status.code)
    end)

    it("ends a stream, at the server too", function()
      local call, accepted = connect("server", { timeout = 1 })
      accepted:write(message("x"))
      assert.equal("x", text(pair.take(call)))
      local status, texts = pair.finish(call)
      assert.same({}, texts)
      assert.equal(4, status.code)
      pair.until_(function() return accepted:over() end)
    end)

    it("of nothing ends a call at once", function()
      assert.equal(4, pair.finish(start("unary", { timeout = 0 })).code)
    end)

    it("that is not a number, negative or huge is none", function()
      for _, timeout in ipairs({ math.huge, 1e300, 0 / 0, -1 }) do
        local _, accepted = connect("unary", { timeout = timeout })
        assert.is_nil(accepted:deadline())
      end
    end)
  end)

  describe("wait_for_ready", function()
    it("fails at once without it when the server cannot be reached, and waits with it", function()
      local forwarder <close> = assert(core.forwarder({ target = target }))
      forwarder:set({ refuse = true })
      local through <close> = pair.channel("127.0.0.1:" .. forwarder:port(), {
        ["grpc.initial_reconnect_backoff_ms"] = 100, ["grpc.min_reconnect_backoff_ms"] = 100,
        ["grpc.max_reconnect_backoff_ms"] = 100,
      })
      local quick <close> = pair.call(through, "unary")
      local status = pair.finish(quick)
      assert.equal(14, status.code)
      assert.is_string(status.message)
      local patient <close> = pair.call(through, "unary", { wait_for_ready = true })
      forwarder:clear()
      local accepted <close> = pair.take(server)
      accepted:write(message("there you are"))
      accepted:finish()
      assert.same({ "there you are" }, select(2, pair.finish(patient)))
    end)
  end)

  describe("cancel", function()
    local stages = {
      ["at once"] = function(call) return call end,
      ["when the server has it"] = function(call) return call, pair.take(server) end,
      ["after the initial metadata"] = function(call)
        local accepted = pair.take(server)
        accepted:headers({})
        pair.until_(function() return call:headers() end)
        return call, accepted
      end,
      ["between messages"] = function(call)
        local accepted = pair.take(server)
        accepted:write(message("x"))
        assert.equal("x", text(pair.take(call)))
        return call, accepted
      end,
      ["with messages not taken"] = function(call)
        local accepted = pair.take(server)
        for _ = 1, 10 do accepted:write(message("x")) end
        pair.until_(function() return accepted:queued() == 0 end)
        return call, accepted
      end,
      ["with a full inbox"] = function(call)
        local accepted = pair.take(server)
        local block = message(("x"):rep(100000))
        for _ = 1, 4 do pair.write(accepted, block) end
        pair.until_(function() return accepted:queued() == 0 end)
        return call, accepted
      end,
      ["with more than the windows hold on its way"] = function(call)
        local accepted = pair.take(server)
        pair.fill(accepted, message(("x"):rep(100000)))
        return call, accepted
      end,
    }

    for stage, reach in pairs(stages) do
      it("ends a stream " .. stage, function()
        local call, accepted = reach(start("server"))
        call:cancel()
        call:cancel()
        local status = pair.finish(call)
        assert.equal(1, status.code)
        assert.is_nil(call:take())
        if accepted then
          pair.until_cancelled(accepted)
          accepted:close()
        end
      end)

      it("is what closing does to a stream " .. stage, function()
        local call, accepted = reach(start("server"))
        call:close()
        if accepted then
          pair.until_cancelled(accepted)
          accepted:close()
        end
      end)
    end

    it("ends writes that are under way", function()
      local call, accepted = connect("bidi")
      call:write(message(("x"):rep(8 * 1024 * 1024)))
      call:cancel()
      assert.equal(1, pair.finish(call).code)
      pair.until_cancelled(accepted)
    end)

    it("ends a unary call", function()
      local call, accepted = connect("unary")
      call:cancel()
      assert.equal(1, pair.finish(call).code)
      pair.until_cancelled(accepted)
    end)

    it("after the end changes nothing", function()
      local call, accepted = connect("unary")
      accepted:write(message("done"))
      accepted:finish()
      pair.until_(function() return call:status() end)
      call:cancel()
      assert.equal("done", text(call:take()))
      assert.equal(0, call:status().code)
    end)
  end)

  it("can be closed with everything outstanding, in any order with its channel and server", function()
    local kinds = { "unary", "server", "client", "bidi" }
    for round = 1, 4 do
      local calls = {}
      for i = 1, 40 do
        calls[i] = start(kinds[i % 4 + 1], { track = i % 8 < 4 })
        if i % 4 >= 2 then calls[i]:write(message(("x"):rep(100000))) end
      end
      if round % 2 == 0 then
        local accepted = pair.take(server)
        accepted:write(message("x"))
        accepted:close()
      end
      if round >= 3 then channel:close() end
      for _, call in ipairs(calls) do call:close() end
      if round >= 3 then channel = pair.channel(target) end
      for _, op in ipairs(open) do op:close() end
      open = {}
      -- what the server has got of them ends as well
      pair.until_(function()
        while true do
          local accepted = server:take()
          if not accepted then break end
          accepted:close()
        end
        local _, kinds_left = live.count()
        return not kinds_left["wgtwo.call"]
      end)
    end
  end)

  it("outlives the channel it was made on", function()
    local call, accepted = connect("server")
    channel:close()
    accepted:write(message("still here"))
    accepted:finish()
    assert.same({ "still here" }, select(2, pair.finish(call)))
  end)

  it("ends with UNAVAILABLE when the connection breaks", function()
    local forwarder <close> = assert(core.forwarder({ target = target }))
    local through <close> = pair.channel("127.0.0.1:" .. forwarder:port())
    local call <close> = pair.call(through, "server")
    local accepted <close> = pair.take(server)
    accepted:write(message("x"))
    assert.equal("x", text(pair.take(call)))
    forwarder:reset()
    local status = pair.finish(call)
    assert.equal(14, status.code)
    pair.until_cancelled(accepted)
  end)

  describe("misuse raises", function()
    it("for metadata that HTTP/2 forbids, without showing the value", function()
      local cases = {
        { { { "Upper", "x" } }, "metadata key 'Upper'" },
        { { { "", "x" } }, "metadata key ''" },
        { { { "with space", "x" } }, "metadata key 'with space'" },
        { { { ":path", "/elsewhere" } }, "metadata key ':path'" },
        { { { "key", "secret\n" } }, "metadata 'key'" },
        { { { "key", "s\195\182cret" } }, "metadata 'key'" },
        { { { "key", 1 } }, "strings" },
        { { { "key" } }, "strings" },
        { { "key" }, "list of {key, value}" },
        { "key: value", "table" },
      }
      for _, case in ipairs(cases) do
        local ok, err = pcall(start, "unary", { metadata = case[1] })
        assert.is_false(ok)
        assert.is_truthy(err:find(case[2], 1, true), err)
        assert.is_nil(err:find("cret", 1, true), err)
      end
    end)

    it("for an argument of a channel or a server that gRPC would cut to 32 bits", function()
      for _, value in ipairs({ 2 ^ 31 | 0, -2 ^ 31 - 1 | 0, math.maxinteger, math.mininteger }) do
        local reason = ("the argument 'grpc.x' is an integer of 32 bits, not %d"):format(value)
        assert.error_matches(function() pair.channel(target, { ["grpc.x"] = value }) end, reason, 1, true)
        assert.error_matches(function() core.server({ ["grpc.x"] = value }) end, reason, 1, true)
      end
      for _, value in ipairs({ 2 ^ 31 - 1 | 0, -2 ^ 31 | 0, "text" }) do
        pair.channel(target, { ["grpc.x"] = value }):close()
        core.server({ ["grpc.x"] = value }):close()
      end
      assert.error_matches(function() core.channel({ target = target, args = { ["grpc.x"] = true } }) end,
        "core.channel: the argument 'grpc.x' is an integer or a string", 1, true)
      assert.error_matches(function() core.channel({ plaintext = true }) end, "'target' is missing", 1, true)
    end)

    it("for another kind, no request, no type, a closed channel and a closed call", function()
      assert.error_matches(function() start("unary", { kind = "duplex" }) end, "duplex")
      assert.has_error(function() start("unary", { request = false }) end)
      assert.has_error(function() core.call(channel, { path = "/x", kind = "unary", reply = pair.TEXT }) end,
        "a unary call has a request")
      assert.has_error(function() start("unary", { reply = "text" }) end)
      assert.has_error(function() core.call("channel", {}) end)
      local call = start("unary")
      call:close()
      call:close()
      for _, method in ipairs({ "take", "status", "headers", "write", "finish", "writable", "cancel" }) do
        assert.error_matches(function() call[method](call, "x") end, "closed")
      end
      assert.matches("closed", tostring(call))
      channel:close()
      assert.error_matches(function() start("unary") end, "closed")
      channel = pair.channel(target)
    end)
  end)
end)
