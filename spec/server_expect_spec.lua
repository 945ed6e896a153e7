local core = require("wgtwo.core")
local pair = require("spec.support.pair")

local message, text = pair.message, pair.text

local PATH <const> = "/test.Service/Method" -- what pair.call calls

describe("expected calls:", function()
  local server, channel, open

  local function keep(op)
    open[#open + 1] = op
    return op
  end

  local function start(request, options)
    local all = { request = message(request) }
    for key, value in pairs(options or {}) do all[key] = value end
    return keep(pair.call(channel, "unary", all))
  end

  before_each(function()
    open = {}
    local target
    server, target = pair.server(nil, PATH)
    channel = pair.channel(target)
  end)

  after_each(function() pair.close(open, channel, server) end)

  it("arrive with their message, and are answered in one step", function()
    local call = start("question", { metadata = { { "x-one", "1" } }, timeout = 9 })
    local accepted <close> = pair.take(server)
    assert.equal("question", text((accepted:take()))) -- without waiting
    assert.is_nil((accepted:take()))
    assert.equal(PATH, accepted:path())
    assert.equal("1", accepted:metadata("x-one"))
    assert.matches("^ipv4:127%.0%.0%.1:%d+$", accepted:peer())
    assert.is_true(accepted:deadline() > 5 and accepted:deadline() < 10)
    assert.is_true(accepted:reply(message("answer")))
    assert.is_nil(accepted:reply(message("again")))
    assert.equal("answer", text(pair.take(call)))
    assert.equal(0, call:status().code)
  end)

  it("end with any status, with headers before it", function()
    local call = start("question")
    local accepted <close> = pair.take(server)
    accepted:headers({ { "early", "1" } })
    accepted:finish(5, "no", { { "why", "because" } })
    local status = pair.finish(call)
    assert.same({ 5, "no", { { "why", "because" } } }, { status.code, status.message, status.metadata })
    assert.same({ { "early", "1" } }, call:headers())
  end)

  it("end with CANCELLED where the handler leaves them", function()
    local call = start("question")
    pair.take(server):close()
    assert.equal(1, pair.finish(call).code)
  end)

  it("have news of their end once they are watched, also where that was before", function()
    local call = start("question")
    local accepted <close> = pair.take(server)
    accepted:watch()
    assert.is_false(accepted:over())
    call:cancel()
    pair.on_news(function() return accepted:over() end, "the end")
    assert.is_true(accepted:cancelled())

    call = start("question")
    local late <close> = pair.take(server)
    call:cancel()
    pair.finish(call)
    late:watch()
    pair.on_news(function() return late:over() end, "the end")
    assert.is_true(late:cancelled())
  end)

  it("are over after the answer to a client that has gone meanwhile", function()
    local call = start("question")
    local accepted <close> = pair.take(server)
    call:cancel()
    pair.finish(call)
    accepted:reply(message("answer"))
    pair.until_(function() return accepted:over() end, "the end")
    assert.is_true(accepted:cancelled())
  end)

  it("have no message where the client sends none", function()
    local call = keep(pair.call(channel, "bidi"))
    pair.half_close(call)
    local accepted <close> = pair.take(server)
    assert.is_nil((accepted:take()))
    accepted:finish(3, "a message is needed")
    assert.equal("a message is needed", pair.finish(call).message)
  end)

  it("take a message of any size in one piece", function()
    local call = start(("x"):rep(1024 * 1024))
    local accepted <close> = pair.take(server)
    assert.equal(1024 * 1024, #text((accepted:take())))
    accepted:reply(message(("y"):rep(1024 * 1024)))
    assert.equal(1024 * 1024, #text(pair.take(call)))
  end)

  it("come with calls of other methods, which come without their message", function()
    local other = keep(pair.call(channel, "bidi", { path = "/test.Service/Other" }))
    local accepted <close> = pair.take(server)
    assert.equal("/test.Service/Other", accepted:path())
    assert.is_false(accepted:take())
    pair.write(other, message("late"))
    assert.equal("late", text(pair.take(accepted)))
  end)

  it("are all served, however many come before the first is looked at", function()
    local calls = {}
    for i = 1, 600 do calls[i] = start(tostring(i)) end
    local seen, count = {}, 0
    while count < 600 do
      local accepted <close> = pair.take(server)
      local request = text((accepted:take()))
      assert.is_nil(seen[request])
      seen[request], count = true, count + 1
      accepted:reply(message(request))
    end
    for i = 1, 600 do assert.equal(tostring(i), text(pair.take(calls[i]))) end
  end)

  it("that nobody took are refused when the server closes", function()
    local call = start("question")
    local first <close> = pair.take(server) -- the next one comes after it
    local waiting = start("waiting")
    pair.until_(function() return (select(2, core.live())["wgtwo.server_call"] or 0) == 2 end, "the second call")
    server:shutdown()
    assert.equal(14, pair.finish(waiting).code)
    first:reply(message("answer"))
    assert.equal("answer", text(pair.take(call)))
    pair.until_(function() return server:stopped() end, "the end of the server")
  end)

  describe("a userdata", function()
    it("shows the next call where it is closed and was not watched", function()
      local first = start("one")
      local accepted = pair.take(server)
      accepted:reply(message("1"))
      accepted:close()
      pair.finish(first)
      local second = start("two")
      local again = pair.take(server, accepted)
      assert.is_true(rawequal(accepted, again))
      assert.equal("two", text((again:take())))
      again:reply(message("2"))
      again:close()
      assert.equal("2", text(pair.take(second)))
    end)

    it("is left alone where it is open, was watched, or is something else", function()
      start("one")
      local accepted <close> = pair.take(server)
      start("two")
      local second <close> = pair.take(server, accepted)
      assert.is_false(rawequal(accepted, second))
      assert.equal("two", text((second:take())))
      second:watch()
      second:reply(message("2"))
      second:close()
      start("three")
      local third <close> = pair.take(server, second)
      assert.is_false(rawequal(second, third))
      start("four")
      local fourth <close> = pair.take(server, channel)
      assert.equal("four", text((fourth:take())))
    end)
  end)

  it("are announced once, before the server starts", function()
    assert.has_error(function() server:expect("/late.Service/Method") end)
    local fresh <close> = core.server()
    fresh:expect(PATH)
    assert.error_matches(function() fresh:expect(PATH) end, "/test%.Service/Method")
    assert.has_error(function() fresh:expect() end)
    assert.error_matches(function() fresh:expect("test.Service/Method") end, "/package.Service/Method", 1, true)
  end)

  it("and others are written in parts, and have the metadata that came with each", function()
    local function packed(metadata)
      start("question", { metadata = metadata })
      local accepted = keep(pair.take(server))
      local again, at, bytes = {}, 1, accepted:packed_metadata()
      while at <= #bytes do
        local key, value
        key, value, at = ("s4s4"):unpack(bytes, at)
        again[#again + 1] = { key, value }
      end
      assert.same(accepted:metadata(), again)
    end
    packed({ { "x-one", "1" } })
    packed({ { "x-one", "1" } })
    packed({ { "x-one", "2" } })
    packed({ { "x-one", "2" }, { "x-two", "" } })
    packed({})

    local stream = keep(pair.call(channel, "server", { path = "/test.Service/Other", request = message("q") }))
    local accepted <close> = pair.take(server)
    assert.has_error(function() accepted:write() end)
    assert.has_error(function() accepted:write("a", {}) end)
    local whole = message("in parts")
    accepted:write(whole:sub(1, 3), "", whole:sub(4))
    accepted:finish()
    assert.same({ "in parts" }, select(2, pair.finish(stream)))
  end)

  it("and others are written in parts, with integers as varints", function()
    local stream = keep(pair.call(channel, "server", { path = "/test.Service/Other", request = message("q") }))
    local accepted <close> = pair.take(server)
    assert.has_error(function() accepted:write("a", 1.5) end)
    local long = ("x"):rep(300)
    accepted:write("\x0A", 5, "short")
    accepted:write("\x0A", #long, long)
    local field <const> = "\x78" -- one that the message does not have
    accepted:write("\x0A", 0, field, 127, field, 128, field, 0, field, math.maxinteger, field, -1)
    accepted:finish()
    local behind = "x\x7Fx\x80\x01x\0x" .. ("\xFF"):rep(8) .. "\x7Fx" .. ("\xFF"):rep(9) .. "\1"
    assert.same({ "short", long, behind }, select(2, pair.finish(stream)))
  end)
end)
