local core = require("wgtwo.core")
local fork = require("fork")
local httpd = require("wgtwo.httpd")
local live = require("spec.support.live")
local pair = require("spec.support.pair")
local process = require("spec.support.process")
local tcp = require("spec.support.tcp")
local web = require("spec.support.web")

describe("httpd", function()
  local daemon, origin

  before_each(function()
    daemon, origin = web.listen()
  end)

  after_each(function()
    daemon:close()
  end)

  -- What a raw client sends, and all that it gets until the connection ends.
  local function exchange(text)
    local client = assert(tcp.connect(daemon:port()))
    client:send(text)
    client:await_end()
    client:close()
    return client:text()
  end

  it("hands a request to Lua and sends the answer", function()
    local seen = {}
    local answer = web.fetch({
      url = origin .. "/a%20b?x=1&y=%C3%A6&empty=&x=2", method = "PUT", body = "the\0body",
      headers = { "X-One: 1", "Accept: a", "X-Two:  2 " },
    }, daemon, function(request)
      seen.method, seen.path, seen.query, seen.body = request:method(), request:path(), request:query(), request:body()
      seen.one, seen.missing, seen.headers = request:header("x-ONE"), request:header("absent"), request:headers()
      assert.is_true(request:respond(201, { ["X-Answer"] = "yes", ["Content-Type"] = "text/plain" }, "an\0answer"))
    end)
    assert.equal("PUT", seen.method)
    assert.equal("/a b", seen.path)
    assert.same({ x = "2", y = "æ", empty = "" }, seen.query)
    assert.equal("the\0body", seen.body)
    assert.equal("1", seen.one)
    assert.is_nil(seen.missing)
    assert.equal("2", seen.headers["x-two"])
    assert.equal(201, answer.status)
    assert.equal("yes", answer.headers["x-answer"])
    assert.equal("an\0answer", answer.body)
  end)

  it("joins headers of one name", function()
    local client = assert(tcp.connect(daemon:port()))
    client:send("GET / HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nX-A: 2\r\n\r\n")
    local request = web.accept(daemon)
    assert.equal("1, 2", request:headers()["x-a"])
    assert.equal("1", request:header("X-A"))
    request:respond(204)
    client:await(12)
    client:close()
    request:close()
  end)

  it("keeps requests apart while they wait, and answers them in any order", function()
    local operations, requests = {}, {}
    for i = 1, 5 do operations[i] = core.http({ url = ("%s/%d"):format(origin, i) }) end
    for i = 1, 5 do requests[i] = web.accept(daemon) end
    table.sort(requests, function(a, b) return a:path() > b:path() end)
    for i = 1, 5 do
      requests[i]:respond(200, nil, requests[i]:path())
      requests[i]:close()
    end
    for i = 1, 5 do assert.equal("/" .. i, web.finish(operations[i]).body) end
  end)

  it("answers many requests of one connection", function()
    for i = 1, 50 do
      local answer = web.fetch({ url = origin, body = ("b"):rep(i * 100) }, daemon, function(request)
        request:respond(200, nil, tostring(#request:body()))
      end)
      assert.equal(tostring(i * 100), answer.body)
    end
  end)

  it("answers HEAD with the headers alone", function()
    local answer = web.fetch({ url = origin, method = "HEAD" }, daemon, function(request)
      request:respond(200, nil, "12345")
    end)
    assert.equal(200, answer.status)
    assert.equal("", answer.body)
    assert.equal("5", answer.headers["content-length"])
  end)

  it("answers 500 to a request that is closed without an answer", function()
    assert.equal(500, web.fetch({ url = origin }, daemon, function() end).status)
  end)

  it("answers 500 to a request that is collected without an answer", function()
    local operation = core.http({ url = origin })
    pair.until_(function() return daemon:take() and true end)
    collectgarbage()
    collectgarbage()
    assert.equal(500, web.finish(operation).status)
  end)

  it("takes one answer a request", function()
    local again, text
    web.fetch({ url = origin }, daemon, function(request)
      request:respond(200)
      again, text = request:respond(200)
    end)
    assert.is_nil(again)
    assert.match("answered before", text)
  end)

  it("refuses an answer that would not be HTTP", function()
    web.fetch({ url = origin }, daemon, function(request)
      assert.has_error(function() request:respond(99) end)
      assert.has_error(function() request:respond(200, { ["X-A"] = "1\r\nX-B: 2" }) end)
      assert.has_error(function() request:respond(200, { ["X A"] = "1" }) end)
      assert.has_error(function() request:respond(200, { "X-A: 1" }) end)
      assert.has_error(function() request:respond(200, "text") end)
      assert.has_error(function() request:respond(200, nil, "x", { cut_after = -1 }) end)
      assert.has_error(function() request:respond(200, nil, "x", { cut = 1 }) end, "respond: unknown option 'cut'")
      request:respond(200)
    end)
  end)

  it("answers 413 to a body over the limit, however it comes", function()
    daemon:close()
    daemon, origin = web.listen({ max_body = 1000 })
    local ok = web.fetch({ url = origin, body = ("x"):rep(1000) }, daemon, function(request) request:respond(200) end)
    assert.equal(200, ok.status)
    assert.equal(413, web.fetch({ url = origin, body = ("x"):rep(1001) }).status)
    local chunked = exchange("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
      .. ("400\r\n" .. ("x"):rep(1024) .. "\r\n"):rep(3) .. "0\r\n\r\n")
    assert.match("^HTTP/1.1 413 ", chunked)
    assert.match("^HTTP/1.1 413 ", exchange("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"))
    assert.is_false(daemon:take())
  end)

  it("drops a connection whose body never ends", function()
    daemon:close()
    daemon = web.listen({ max_body = 0 })
    local text = exchange("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
      .. ("10000\r\n" .. ("x"):rep(65536) .. "\r\n"):rep(20))
    assert.not_match("200", text)
    assert.is_false(daemon:take())
  end)

  it("never shows Lua a request that is cut off", function()
    local client = assert(tcp.connect(daemon:port()))
    client:send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
    tcp.until_(function() return not client.unsent or client.unsent == 0 end)
    client:reset()
    assert.equal(200, web.fetch({ url = origin .. "/next" }, daemon, function(request)
      assert.equal("/next", request:path())
      request:respond(200)
    end).status)
  end)

  it("survives a client that leaves before its answer", function()
    local client = assert(tcp.connect(daemon:port()))
    client:send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    local request = web.accept(daemon)
    client:reset()
    assert.is_true(request:respond(200, nil, ("x"):rep(1e6)))
    request:close()
  end)

  describe("cuts an answer:", function()
    it("all of the body is announced, so many bytes arrive, and the connection ends", function()
      local body = ("0123456789"):rep(100000)
      for _, count in ipairs{ 0, 7, 500000, #body - 1 } do
        local client = assert(tcp.connect(daemon:port()))
        client:send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        local request = web.accept(daemon)
        assert.is_true(request:respond(200, { ["X-Answer"] = "yes" }, body, { cut_after = count }))
        request:close()
        client:await_end()
        local head, rest = client:text():match("^(HTTP/1.1 200 .-\r\n)\r\n(.*)$")
        assert.matches("X-Answer: yes\r\n", head, 1, true)
        assert.matches("Content-Length: 1000000\r\n", head, 1, true)
        assert.equal(count, #rest)
        assert.is_true(rest == body:sub(1, count))
        assert.is_nil(client.failure) -- a FIN, not a RST
        client:close()
      end
    end)

    it("to a client it is an error, with and without TLS", function()
      local function reason(options)
        local _, text, code = web.fetch(options, daemon, function(request)
          request:respond(200, nil, "the whole body", { cut_after = 9 })
        end)
        assert.equal(18, code)
        return text
      end
      assert.matches("transfer closed with 5 bytes remaining", reason{ url = origin }, 1, true)
      daemon:close()
      local certificate = httpd.certificate({ names = { "localhost" } })
      daemon, origin = web.listen({ cert = certificate.cert, key = certificate.key })
      local ca_file = web.file(certificate.ca)
      assert.matches("transfer closed with 5 bytes remaining", reason{ url = origin, ca_file = ca_file }, 1, true)
      os.remove(ca_file)
    end)

    it("not a body that is no longer, nor the next one", function()
      local function fetch(options)
        return web.fetch({ url = origin }, daemon, function(request)
          request:respond(200, nil, "the body", options)
        end)
      end
      for _, count in ipairs{ 8, 9 } do assert.equal("the body", fetch({ cut_after = count }).body) end
      assert.is_nil(fetch({ cut_after = 1 }))
      assert.equal("the body", fetch().body)
      assert.equal("the body", fetch({}).body)
    end)
  end)

  it("drops what is not HTTP, and answers 431 to headers without end", function()
    assert.not_match("200", exchange("nonsense\r\n\r\n"))
    assert.match("^HTTP/1.[01] 4[13][134] ", exchange("GET / HTTP/1.1\r\nX: " .. ("x"):rep(100000) .. "\r\n\r\n"))
    assert.is_false(daemon:take())
  end)

  it("answers 503 to what waits when it closes, taken or not", function()
    local operations = {}
    for i = 1, 3 do operations[i] = core.http({ url = origin }) end
    local request = web.accept(daemon)
    pair.until_(function() -- the others are in the queue
      local second = daemon:take()
      return second and (second:close() or true)
    end)
    daemon:close()
    local statuses = {}
    for i = 1, 3 do
      local answer = web.finish(operations[i])
      statuses[i] = answer and answer.status or 0
    end
    table.sort(statuses)
    assert.equal(500, statuses[1] == 0 and 500 or statuses[1])
    assert.equal(503, statuses[3])
    assert.is_nil((request:respond(200)))
    request:close()
    assert.has_error(function() daemon:take() end)
  end)

  it("answers 503 above its queue", function()
    local clients = {}
    for i = 1, 130 do
      clients[i] = assert(tcp.connect(daemon:port()))
      clients[i]:send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    end
    tcp.until_(function() -- none was taken: two of them are too many
      local refused = 0
      for _, client in ipairs(clients) do
        if client:text():match("^HTTP/1.1 503 ") then refused = refused + 1 end
      end
      return refused == 2
    end, "the answer 503")
    for _, client in ipairs(clients) do client:close() end
  end)

  it("says why it cannot listen", function()
    local none, text = httpd.listen({ port = daemon:port() })
    assert.is_nil(none)
    assert.match("cannot listen on 127.0.0.1 port %d+: Address already in use", text)
    none, text = httpd.listen({ address = "nonsense" })
    assert.is_nil(none)
    assert.equal("'nonsense' is no IP address", text)
    none, text = httpd.listen({ cert = "nonsense", key = "nonsense" })
    assert.is_nil(none)
    assert.match("^cannot start the HTTP server", text)
    assert.has_error(function() httpd.listen({ prot = 1 }) end, "httpd.listen: unknown option 'prot'")
    assert.has_error(function() httpd.listen({ cert = "x" }) end)
  end)

  it("speaks HTTPS with a certificate", function()
    daemon:close()
    local certificate = httpd.certificate({ names = { "localhost" } })
    daemon, origin = web.listen({ cert = certificate.cert, key = certificate.key })
    local ca_file = web.file(certificate.ca)
    local operations = {}
    for i = 1, 4 do
      operations[i] = core.http({ url = origin .. "/" .. i, ca_file = ca_file, body = ("x"):rep(100000) })
    end
    for i = 1, 4 do
      local answer = web.finish(operations[i], daemon, function(request)
        request:respond(200, nil, request:path() .. #request:body())
      end)
      assert.equal(("/%d100000"):format(i), answer.body)
    end
    os.remove(ca_file)
  end)

  it("leaves no descriptor and no object, closed or collected", function()
    local function round(close)
      local one = httpd.listen({})
      local operation = core.http({ url = "http://127.0.0.1:" .. one:port() })
      local request = web.accept(one)
      operation:close()
      if close then
        request:close()
        one:close()
      end
    end
    daemon:close()
    round(true)
    live.settle()
    local before = live.fds()
    for i = 1, 20 do round(i % 2 == 0) end
    assert.equal(0, (live.settle()))
    assert.is_true(live.fds() <= before, "descriptors were left open")
  end)

  it("ends with the Lua state, with requests under way", function()
    local result = process.lua([[
      local core, httpd = require("wgtwo.core"), require("wgtwo.httpd")
      local daemon = httpd.listen({})
      local url = "http://127.0.0.1:" .. daemon:port()
      waiting, taken = core.http({ url = url }), core.http({ url = url .. "/2" })
      repeat request = daemon:take() until request
      print("end")
    ]])
    assert.equal("end\n", result.output)
    assert.equal("", result.errors)
    assert.is_true(result.ok)
  end)

  it("belongs to its process: a forked child gets a clear error, and its end changes nothing", function()
    local operation = core.http({ url = origin })
    local request = web.accept(daemon)
    local pid = fork.fork()
    if pid == 0 then
      local raised = not pcall(daemon.take, daemon) and not pcall(request.respond, request, 200)
      os.exit(raised, true) -- closes the state
    end
    assert.same({ "exit", 0 }, { fork.wait(pid) })
    request:respond(200, nil, "from the parent")
    request:close()
    assert.equal("from the parent", web.finish(operation).body)
  end)
end)
