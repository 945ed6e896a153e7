-- What comes of the replies of a call: parts of them, messages with a class, those that cannot be read, and their size.

local core = require("wgtwo.core")
local pair = require("spec.support.pair")

local message, text = pair.message, pair.text

describe("replies:", function()
  local server, target, channel, open

  -- Starts a call, and accepts it: client's side, server's side.
  local function connect(kind, options) return pair.accepted(channel, server, open, kind, options) end

  before_each(function()
    open = {}
    server, channel, target = pair.connected()
  end)

  after_each(function() pair.close(open, channel, server) end)

  it("gives one submessage of each reply where only that is wanted: empty when absent, joined when in parts", function()
    local schema = require("wgtwo.schema")
    local REPLY = schema.type("wgtwo.events.v0.SubscribeEventsResponse")
    local function reply(fields) return core.encode(REPLY, { event = fields }) end
    local call, accepted = connect("server", { reply = REPLY, part = "event" })
    accepted:write(reply{ service_id = "one" })
    accepted:write("")
    accepted:write(reply{ metadata = { sequence = 7 } } .. reply{ service_id = "two" })
    accepted:write("\10\3\10\1\255") -- an event that is none
    for _ = 1, 20 do accepted:write(reply{ service_id = "passed over" }) end
    pair.until_(function() return accepted:queued() == 0 end)
    local one, none, joined = pair.take(call), pair.take(call), pair.take(call)
    assert.equal("wgtwo.events.v0.Event", core.typename(one))
    assert.equal("one", one.service_id)
    assert.equal("", core.bytes(none))
    assert.same({ 7, "two" }, { joined.metadata.sequence, joined.service_id })
    local _, what = pair.take(call)
    assert.equal("decode", what)
    assert.is_nil((pair.take(call)))
    assert.error_matches(function() pair.call(channel, "server", { reply = REPLY, part = "evnt" }) end,
      "no submessage 'evnt'")
    assert.error_matches(function() pair.call(channel, "unary", { reply = REPLY, part = "event" }) end, "no part")
  end)

  describe("a class of replies", function()
    local EVENT = require("wgtwo.schema").type("wgtwo.events.v0.Event")
    local class = {
      __index = core.delegate{ kind = function(m) return m.service_id .. "!" end, owner = core.owner },
      __tostring = function(m) return "event " .. m.service_id end,
    }

    local function take(fields, owner)
      local call, accepted = connect("server", { reply = EVENT, class = class })
      accepted:write(core.encode(EVENT, fields))
      return (pair.take(call, owner))
    end

    it("reads as the message, but for the names that have a function", function()
      local m = take{ service_id = "s", metadata = { sequence = 7 }, owner = { sub = "x" } }
      assert.same({ "s", 7, "s!", "event s" }, { m.service_id, m.metadata.sequence, m.kind, tostring(m) })
      assert.is_true(core.is_message(m))
      assert.equal("s", core.totable(m).service_id)
      assert.error_matches(function() return m.servic_id end, "did you mean 'service_id'")
    end)

    it("has an owner, which lives as long as the message", function()
      local m = take({ service_id = "s" }, { "mine" })
      collectgarbage()
      assert.same({ "mine" }, core.owner(m))
      assert.same({ "mine" }, m.owner)
      core.set_owner(m, nil)
      assert.is_nil(core.owner(m))
    end)

    it("is left by a view, and its submessages live on their own", function()
      local m = take({ service_id = "s", metadata = { sequence = 7 }, owner = { sub = "x" } }, "mine")
      local plain, metadata = core.view(m), m.metadata
      m = nil -- luacheck: ignore 311
      collectgarbage()
      collectgarbage()
      assert.same({ "x", "s", 7 }, { plain.owner.sub, plain.service_id, metadata.sequence })
      assert.is_nil(core.owner(plain))
    end)

    it("is for messages of streams only", function()
      local plain = core.decode(EVENT, "")
      assert.is_nil(core.owner(plain))
      assert.error_matches(function() core.set_owner(plain, 1) end, "it has no class")
      assert.same({}, { core.owner({}), core.owner(nil), core.owner(channel) })
      assert.error_matches(function() class.__index({}, "service_id") end, "message expected")
      assert.error_matches(function() pair.call(channel, "server", { reply = EVENT, class = 1 }) end, "table expected")
    end)
  end)

  describe("undecodable reply", function()
    -- The next reply cannot be read, which cancels the call.
    local function cancels(call, accepted)
      local none, what = pair.take(call)
      assert.is_nil(none)
      assert.equal("decode", what)
      assert.equal(1, pair.finish(call).code)
      pair.until_cancelled(accepted)
    end

    it("of a unary call is nil and the reason", function()
      local call, accepted = connect("unary")
      accepted:write("\255")
      accepted:finish()
      local none, what, reason = pair.take(call)
      assert.is_nil(none)
      assert.equal("decode", what)
      assert.is_string(reason)
      assert.is_nil(call:take())
    end)

    it("cancels a stream", function()
      local call, accepted = connect("server")
      accepted:write(message("fine"))
      accepted:write("\255")
      assert.equal("fine", text(pair.take(call)))
      cancels(call, accepted)
    end)

    it("ends a stream that has more than its inbox holds", function()
      local call, accepted = connect("server")
      accepted:write(message("fine"))
      accepted:write("\255")
      pair.fill(accepted, message(("x"):rep(100000)))
      assert.equal("fine", text(pair.take(call)))
      pair.fill(accepted, message(("x"):rep(100000)))
      cancels(call, accepted)
    end)
  end)

  describe("size", function()
    it("over the limit ends the call with RESOURCE_EXHAUSTED, and the next one works", function()
      local small <close> = pair.channel(target, { ["grpc.max_receive_message_length"] = 10000 })
      for _, kind in ipairs({ "unary", "server" }) do
        local call <close> = pair.call(small, kind)
        local accepted <close> = pair.take(server)
        accepted:write(message(("x"):rep(10001)))
        accepted:finish()
        local status, texts = pair.finish(call)
        assert.same({}, texts)
        assert.equal(8, status.code)
        local again <close> = pair.call(small, kind)
        local second <close> = pair.take(server)
        second:write(message(("x"):rep(9000)))
        second:finish()
        assert.equal(9000, #select(2, pair.finish(again))[1])
      end
    end)

    it("of many megabytes passes whole", function()
      local wide <close> = pair.channel(target, { ["grpc.max_receive_message_length"] = -1 })
      local call <close> = pair.call(wide, "server")
      local accepted <close> = pair.take(server)
      local large = ("0123456789abcdef"):rep(1024 * 1024)
      accepted:write(message(large))
      accepted:write(message("small"))
      accepted:finish()
      local status, texts = pair.finish(call)
      assert.equal(0, status.code)
      assert.is_true(texts[1] == large)
      assert.equal("small", texts[2])
    end)
  end)
end)
