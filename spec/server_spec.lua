local core = require("wgtwo.core")
local httpd = require("wgtwo.httpd")
local live = require("spec.support.live")
local pair = require("spec.support.pair")

local message, text = pair.message, pair.text

describe("server", function()
  local server, channel, open

  local function keep(op)
    open[#open + 1] = op
    return op
  end

  local function connect(kind, options)
    local call = keep(pair.call(channel, kind, options))
    return call, keep(pair.take(server))
  end

  before_each(function()
    open = {}
    server, channel = pair.connected()
  end)

  after_each(function() pair.close(open, channel, server) end)

  it("shows who calls what: path, metadata, peer, deadline", function()
    local metadata = { { "x-one", "1" }, { "x-two", "2" }, { "x-two", "3" } }
    local _, accepted = connect("bidi", { metadata = metadata, timeout = 9 })
    assert.equal("/test.Service/Method", accepted:path())
    assert.equal("1", accepted:metadata("x-one"))
    assert.equal("2", accepted:metadata("x-two")) -- the first
    assert.is_nil(accepted:metadata("x-three"))
    local packed, at, again = accepted:packed_metadata(), 1, {}
    while at <= #packed do
      local key, value
      key, value, at = ("s4s4"):unpack(packed, at)
      again[#again + 1] = { key, value }
    end
    assert.same(accepted:metadata(), again)
    assert.matches("^ipv4:127%.0%.0%.1:%d+$", accepted:peer())
    assert.is_true(accepted:deadline() > 5 and accepted:deadline() < 10)
    local _, without = connect("bidi")
    assert.is_nil(without:deadline())
  end)

  it("answers a unary call in one step", function()
    local call, accepted = connect("unary", { request = message("question") })
    assert.equal("question", text(pair.take(accepted)))
    assert.is_true(accepted:reply(message("answer")))
    accepted:close()
    assert.equal("answer", text(pair.take(call)))
    assert.equal(0, call:status().code)
  end)

  it("decodes what it takes, and says when that fails", function()
    local _, accepted = connect("bidi")
    local call = open[1]
    call:write(message("typed"))
    assert.equal("typed", core.totable(pair.take(accepted, pair.TEXT)).content)
    pair.on_news(function() return call:writable() end, "room")
    call:write("\255\255\255")
    local nothing, reason = pair.take(accepted, pair.TEXT)
    assert.is_nil(nothing)
    assert.matches("SendTextToSubscriberRequest", reason)
  end)

  it("gives nil after the half-close, once everything was taken", function()
    local call, accepted = connect("bidi")
    for i = 1, 3 do pair.write(call, message("m" .. i)) end
    pair.half_close(call)
    for i = 1, 3 do assert.equal("m" .. i, text(pair.take(accepted))) end
    assert.is_nil((pair.take(accepted)))
    assert.is_false(accepted:cancelled())
    accepted:finish(0)
    assert.equal(0, pair.finish(call).code)
  end)

  it("sends what was queued before the status, also when the call is closed at once", function()
    local call, accepted = connect("server")
    for i = 1, 200 do assert.is_true(accepted:write(message("m" .. i))) end
    accepted:finish(5, "and then not", { { "why", "because" } })
    accepted:close()
    local status, texts = pair.finish(call)
    assert.equal(200, #texts)
    assert.equal("m200", texts[200])
    assert.equal(5, status.code)
    assert.equal("and then not", status.message)
    assert.same({ { "why", "because" } }, status.metadata)
  end)

  it("sends initial metadata ahead of everything, and raises when that is too late", function()
    local call, accepted = connect("server")
    accepted:headers({ { "early", "1" } })
    assert.same({ { "early", "1" } }, pair.on_news(function() return call:headers() or false end, "headers"))
    assert.has_error(function() accepted:headers({ { "late", "1" } }) end)
    accepted:finish(0)
    pair.finish(call)
  end)

  it("takes no write, and no second status, after the status", function()
    local call, accepted = connect("server")
    accepted:finish(7, "first")
    accepted:finish(8, "second")
    assert.is_nil(accepted:write(message("late")))
    assert.is_nil(accepted:reply(message("late")))
    local status = pair.finish(call)
    assert.equal(7, status.code)
    assert.equal("first", status.message)
  end)

  it("notices a cancelled call while nothing else happens, and has news of it", function()
    local call, accepted = connect("bidi")
    assert.is_false(accepted:take())
    call:cancel()
    assert.is_nil((pair.take(accepted)))
    pair.until_(function() return accepted:over() end, "the end")
    assert.is_true(accepted:cancelled())
    assert.is_nil(accepted:write(message("to nobody")))
    accepted:finish(0)
    assert.is_nil(accepted:peer())
  end)

  it("notices a deadline that passed", function()
    local _, accepted = connect("bidi", { timeout = 0.05 })
    pair.until_(function() return accepted:cancelled() end, "the deadline")
    assert.is_true(accepted:deadline() < 0.05)
  end)

  it("ends a call that its handler drops with CANCELLED", function()
    local call, accepted = connect("bidi")
    accepted:close()
    accepted:close()
    assert.equal(1, pair.finish(call).code)
  end)

  it("resets a call whatever is queued", function()
    local call, accepted = connect("server")
    pair.fill(accepted, message(("x"):rep(60000)))
    assert.is_true(accepted:queued() > 0)
    accepted:reset()
    local messages, bytes = accepted:queued()
    assert.equal(0, messages + bytes)
    assert.equal(14, pair.finish(call).code)
  end)

  it("holds a bounded queue for a client that does not read, and says when there is room", function()
    local call, accepted = connect("server")
    local payload = message(("x"):rep(5000))
    local written = pair.fill(accepted, payload)
    local count, bytes = accepted:queued()
    assert.is_true(count <= 256 and bytes <= 1024 * 1024 + 6000)
    local got = 0
    repeat
      local taken = call:take()
      if taken then got = got + 1 end
    until not taken
    pair.on_news(function()
      while call:take() do got = got + 1 end
      return accepted:write(payload)
    end, "room")
    accepted:finish(0)
    local _, rest = pair.finish(call)
    assert.equal(written + 1, got + #rest)
  end)

  it("reads no further than a bounded part ahead of its handler", function()
    local call, accepted = connect("client")
    local written, payload = 0, message(("x"):rep(50000))
    local still = 0
    while still < 5 do -- nothing moved for a while
      still = still + 1
      while call:write(payload) do written, still = written + 1, 0 end
      core.poll(0.02, {})
    end
    assert.is_true(written < 100, "written: " .. written)
    local taken = 0
    while taken < written do
      if pair.take(accepted) then taken = taken + 1 end
    end
    pair.half_close(call)
    assert.is_nil((pair.take(accepted)))
    accepted:reply(message("thanks"))
    assert.equal(0, pair.finish(call).code)
  end)

  it("accepts more calls at once than it holds in its list", function()
    local calls = {}
    for i = 1, 600 do calls[i] = keep(pair.call(channel, "unary", { request = message("n" .. i) })) end
    local seen = {}
    for _ = 1, 600 do
      local accepted = pair.take(server)
      local question = text(pair.take(accepted))
      seen[question] = true
      accepted:reply(message(question))
      accepted:close()
    end
    for i = 1, 600 do
      assert.is_true(seen["n" .. i])
      assert.equal("n" .. i, text(pair.take(calls[i])))
    end
  end)

  it("listens on several ports that the kernel chose, and says when a port is taken", function()
    local second <close> = core.server()
    local a, b = assert(second:listen("127.0.0.1:0")), assert(second:listen("127.0.0.1:0"))
    assert.is_true(a > 0 and b > 0 and a ~= b)
    second:start()
    local nothing, reason = core.server():listen("127.0.0.1:" .. a)
    assert.is_nil(nothing)
    assert.matches("cannot listen on 127.0.0.1:" .. a, reason, 1, true)
    assert.has_error(function() second:listen("127.0.0.1:0") end) -- after start
  end)

  it("is misused by a status that gRPC does not have, and by arguments that are none", function()
    local _, accepted = connect("bidi")
    assert.has_error(function() accepted:finish(17) end)
    assert.has_error(function() accepted:reset(0) end)
    assert.has_error(function() core.server({ ["grpc.x"] = true }) end)
    accepted:close()
    assert.has_error(function() accepted:path() end)
  end)

  describe("with TLS", function()
    local ca, certificate

    local function secure(options)
      local secured = keep(core.server())
      options.cert, options.key = certificate.cert, certificate.key
      local port = assert(secured:listen("127.0.0.1:0", options))
      secured:start()
      return secured, "localhost:" .. port
    end

    local function tls_channel(to, options)
      options = options or {}
      options.target, options.roots = to, ca.cert
      options.args = { ["grpc.use_local_subchannel_pool"] = 1, ["grpc.enable_retries"] = 0 }
      return keep(assert(core.channel(options)))
    end

    setup(function()
      ca = httpd.certificate{ is_ca = true, subject = "test authority" }
      certificate = httpd.certificate{ names = { "localhost" }, ca = { cert = ca.cert, key = ca.key } }
    end)

    it("serves clients that trust its authority", function()
      local secured, to = secure{}
      local call = keep(pair.call(tls_channel(to), "unary"))
      local accepted = keep(pair.take(secured))
      pair.take(accepted)
      accepted:reply(message("safe"))
      assert.equal("safe", text(pair.take(call)))
    end)

    it("with a client authority refuses clients without a certificate of it, and serves those with", function()
      local secured, to = secure{ client_ca = ca.cert }
      local without = keep(pair.call(tls_channel(to), "unary", { timeout = 5 }))
      assert.equal(14, pair.finish(without).code)
      local own = httpd.certificate{ names = { "client" }, client = true, ca = { cert = ca.cert, key = ca.key } }
      local call = keep(pair.call(tls_channel(to, { cert = own.cert, key = own.key }), "unary"))
      local accepted = keep(pair.take(secured))
      pair.take(accepted)
      accepted:reply(message("known"))
      assert.equal("known", text(pair.take(call)))
    end)

    it("does not listen with a key that is not the certificate's", function()
      local other = httpd.certificate{ names = { "localhost" } }
      local broken <close> = core.server()
      local port, reason = broken:listen("127.0.0.1:0", { cert = certificate.cert, key = other.key })
      assert.is_nil(port)
      assert.matches("certificate", reason)
    end)
  end)

  describe("closing", function()
    -- Refused by us where the call had arrived (14), cancelled by gRPC itself where it was just arriving (1).
    local function assert_refused(call)
      local code = pair.finish(call).code
      assert.is_true(code == 14 or code == 1, code)
    end

    it("at once ends every call, taken or not, and refuses those that come", function()
      local taken_call = connect("bidi")
      local waiting = keep(pair.call(channel, "bidi"))
      pair.until_(function() return channel:state() == "READY" end)
      server:close()
      assert.equal(14, pair.finish(taken_call).code)
      assert_refused(waiting)
      assert_refused(keep(pair.call(channel, "unary")))
    end)

    it("after a shutdown that lets open calls end, and says when the last has", function()
      local call, accepted = connect("bidi")
      local waiting = keep(pair.call(channel, "bidi"))
      server:shutdown()
      server:shutdown()
      assert_refused(waiting) -- nobody had taken it
      assert_refused(keep(pair.call(channel, "unary")))
      assert.is_false(server:stopped())
      accepted:write(message("still here"))
      accepted:finish(0, "goodbye")
      local status, texts = pair.finish(call)
      assert.same({ "still here" }, texts)
      assert.equal("goodbye", status.message)
      channel:close() -- an idle connection does not hold the server, but goes faster so
      pair.on_news(function() return server:stopped() end, "the last call's end")
    end)

    it("ends calls that a shutdown waits for", function()
      local call, accepted = connect("bidi")
      server:shutdown()
      server:close()
      assert.equal(14, pair.finish(call).code)
      pair.until_(function() return accepted:cancelled() end, "the cancellation")
    end)
  end)

  it("leaves nothing behind after 1,000 calls, created and closed or dropped in every stage", function()
    for i = 1, 1000 do
      local call = pair.call(channel, i % 2 == 0 and "unary" or "bidi")
      local stage = i % 5
      if stage > 0 then
        local accepted = pair.take(server)
        if stage == 2 then accepted:write(message("one")) end
        if stage == 3 then accepted:finish(0) end
        if stage == 4 then accepted:reset() end
        if i % 3 > 0 then accepted:close() end -- else it is collected
      end
      call:close()
      while i % 7 == 0 and server:take() do end -- some were cancelled before anybody looked
    end
    server:close()
    channel:close()
    live.check("1,000 calls")
  end)
end)
