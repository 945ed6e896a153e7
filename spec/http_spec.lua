local core = require("wgtwo.core")
local httpd = require("wgtwo.httpd")
local live = require("spec.support.live")
local pair = require("spec.support.pair")
local process = require("spec.support.process")
local tcp = require("spec.support.tcp")
local web = require("spec.support.web")

-- curl's codes
local COULD_NOT_CONNECT, PARTIAL, TIMED_OUT, GOT_NOTHING = 7, 18, 28, 52
local RECV_ERROR, BAD_CERTIFICATE, NO_CA_FILE = 56, 60, 77

describe("http", function()
  local daemon, origin

  before_each(function()
    daemon, origin = web.listen()
  end)

  after_each(function()
    daemon:close()
  end)

  -- A peer that answers any request with these bytes and ends the connection.
  local function canned(text, options)
    local server = tcp.listen()
    options = options or {}
    options.url = "http://" .. server.target .. "/"
    local operation = assert(core.http(options))
    local peer = server:peer(1)
    tcp.until_(function() return peer:text():find("\r\n\r\n", 1, true) end)
    peer:send(text)
    peer:finish()
    tcp.until_(function() return operation:take() ~= false end, "the end of the request")
    server:close()
    return web.finish(operation)
  end

  local function echo(request)
    request:respond(200, { ["X-Method"] = request:method(), ["X-Authorization"] = request:header("authorization") },
      request:body())
  end

  it("is GET without a body, and POST with one", function()
    assert.equal("GET", web.fetch({ url = origin }, daemon, echo).headers["x-method"])
    local posted = web.fetch({ url = origin, body = "a\0b" }, daemon, echo)
    assert.equal("POST", posted.headers["x-method"])
    assert.equal("a\0b", posted.body)
  end)

  it("sends any method", function()
    for _, method in ipairs({ "PUT", "PATCH", "DELETE", "OPTIONS", "POST" }) do
      local answer = web.fetch({ url = origin, method = method }, daemon, echo)
      assert.equal(method, answer.headers["x-method"])
      assert.equal("", answer.body)
    end
  end)

  it("authenticates with HTTP Basic", function()
    local answer = web.fetch({ url = origin, username = "id", password = "a:secret" }, daemon, echo)
    assert.equal("Basic aWQ6YTpzZWNyZXQ=", answer.headers["x-authorization"])
  end)

  it("gives any status with its headers and body, and follows no redirect", function()
    for _, status in ipairs({ 200, 204, 302, 401, 404, 500, 503 }) do
      local answer = web.fetch({ url = origin }, daemon, function(request)
        request:respond(status, { Location = origin .. "/elsewhere" }, status ~= 204 and "text" or nil)
      end)
      assert.equal(status, answer.status)
    end
    assert.is_false(daemon:take())
  end)

  it("joins headers of one name, and forgets those of an interim answer", function()
    local answer = canned("HTTP/1.1 100 Continue\r\nX-Interim: 1\r\n\r\nHTTP/1.1 200 OK\r\nSet-X: a\r\nset-x:  b \r\n"
      .. "Empty:\r\nContent-Length: 2\r\n\r\nok")
    assert.equal("ok", answer.body)
    assert.equal("a, b", answer.headers["set-x"])
    assert.equal("", answer.headers["empty"])
    assert.is_nil(answer.headers["x-interim"])
  end)

  it("uses one connection for requests that follow each other", function()
    local server = tcp.listen()
    for i = 1, 3 do
      local operation = core.http({ url = "http://" .. server.target })
      local peer = server:peer(1)
      tcp.until_(function() return select(2, peer:text():gsub("\r\n\r\n", "")) == i end)
      peer:send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
      assert.equal("x", web.finish(operation).body)
    end
    assert.equal(1, #server.peers)
    server:close()
  end)

  it("takes a result again until it is closed", function()
    local operation = core.http({ url = origin })
    assert.is_false(operation:take())
    local request = web.accept(daemon)
    request:respond(200, nil, "text")
    request:close()
    assert.equal("text", pair.take(operation).body)
    assert.equal("text", operation:take().body)
    operation:close()
    operation:close()
    assert.has_error(function() operation:take() end)
  end)

  describe("fails with one line that says where and why", function()
    local function check(code, pattern, result, text, got)
      assert.is_nil(result)
      assert.match(pattern, text)
      assert.not_match("\n", text)
      assert.equal(code, got)
    end

    it("refused", function()
      local port = daemon:port()
      daemon:close()
      check(COULD_NOT_CONNECT, "^127.0.0.1:%d+: Connection refused$",
        web.fetch({ url = ("http://127.0.0.1:%d/path?secret"):format(port) }))
    end)

    it("name not found", function()
      check(6, "^nosuch.invalid:80: Could not resolve host: nosuch.invalid$",
        web.fetch({ url = "http://nosuch.invalid/" }))
    end)

    it("an answer cut off", function()
      check(PARTIAL, "transfer closed with 5 bytes remaining",
        canned("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"))
      check(PARTIAL, ": ", canned("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n123"))
      check(GOT_NOTHING, "Empty reply from server", canned(""))
      local server = tcp.listen()
      local operation = core.http({ url = "http://" .. server.target })
      server:peer(1):await(1)
      server:peer(1):reset()
      check(RECV_ERROR, "reset", web.finish(operation))
      server:close()
    end)

    it("not HTTP", function()
      check(1, ": ", canned("nonsense\r\n\r\n"))
    end)

    it("a body over the limit, told or not", function()
      local over = "^127.0.0.1:%d+: the answer is longer than 10 bytes$"
      check(63, over, canned("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n12345678901", { max_body = 10 }))
      check(23, over, canned("HTTP/1.1 200 OK\r\n\r\n12345678901", { max_body = 10 }))
      assert.equal("1234567890", canned("HTTP/1.1 200 OK\r\n\r\n1234567890", { max_body = 10 }).body)
    end)

    it("headers over the limit", function()
      local result, text = canned("HTTP/1.1 200 OK\r\n" .. ("X-A: " .. ("x"):rep(1000) .. "\r\n"):rep(80) .. "\r\n")
      assert.is_nil(result)
      assert.match("headers are longer than 65536 bytes$", text)
    end)

    it("silence", function()
      check(TIMED_OUT, "timed out after %d%d%d%d? milliseconds", web.fetch({ url = origin, timeout = 0.2 }))
    end)

    it("a URL that cannot be used", function()
      for url, reason in pairs({
        ["http://user:secret@127.0.0.1/"] = "credentials do not belong in a URL",
        ["file:///etc/passwd"] = "only http and https",
        ["ftp://127.0.0.1/"] = "only http and https",
        ["secret nonsense"] = "not of the form",
        ["http://127.0.0.1:99999/"] = "not of the form",
      }) do
        local none, text = core.http({ url = url })
        assert.is_nil(none, url)
        assert.match(reason, text)
        assert.not_match("secret", text)
      end
    end)
  end)

  it("refuses misuse", function()
    for i, options in ipairs({
      {}, { url = 1 }, { url = origin, method = "get it" }, { url = origin, headers = { "no colon" } },
      { url = origin, headers = { "A: b\r\nC: d" } }, { url = origin, headers = { [1] = 1 } },
      { url = origin, headers = "A: b" }, { url = origin, timeout = 0 }, { url = origin, timeout = "1" },
      { url = origin, tiemout = 1 }, { url = origin .. "\0" }, { url = origin, max_body = -1 },
    }) do
      assert.has_error(function() core.http(options) end, nil, ("case %d"):format(i))
    end
    local _, text = pcall(core.http, { url = origin, headers = { "Authorization Bearer secret" } })
    assert.not_match("secret", text)
  end)

  it("is cancelled when it is closed or collected", function()
    local operation = core.http({ url = origin })
    local request = web.accept(daemon)
    operation:close()
    core.http({ url = origin })
    collectgarbage()
    collectgarbage()
    request:close()
    assert.equal(200, web.fetch({ url = origin }, daemon, function(other) other:respond(200) end).status)
    daemon:close()
    assert.equal(0, (live.settle()))
  end)

  it("refuses more than 1024 at once", function()
    local server, operations = tcp.listen(), {}
    for i = 1, 1024 do operations[i] = assert(core.http({ url = "http://" .. server.target })) end
    local none, text = core.http({ url = "http://" .. server.target })
    assert.is_nil(none)
    assert.equal("too many HTTP requests are under way", text)
    for _, operation in ipairs(operations) do operation:close() end
    server:close()
    local operation = pair.until_(function() return (core.http({ url = origin })) end, "room for a request")
    assert.equal(200, web.finish(operation, daemon, function(request) request:respond(200) end).status)
  end)

  it("leaves no descriptor and no memory", function()
    local function round()
      web.fetch({ url = origin, body = ("x"):rep(10000) }, daemon, function(request) request:respond(200, nil, "x") end)
      core.http({ url = origin }):close()
    end
    for _ = 1, 20 do round() end
    local before = live.fds()
    for _ = 1, 100 do round() end
    while daemon:take() do end
    assert.is_true(live.fds() <= before + 8, "descriptors were left open") -- connections kept for reuse
  end)

  describe("over TLS", function()
    local authority = httpd.certificate({ is_ca = true, subject = "wgtwo test authority" })
    local other = httpd.certificate({ is_ca = true, subject = "another authority" })
    local ca_file, other_file

    setup(function()
      ca_file, other_file = web.file(authority.cert), web.file(other.cert)
    end)

    teardown(function()
      os.remove(ca_file)
      os.remove(other_file)
    end)

    local function serve(options)
      options.ca = authority
      local leaf = httpd.certificate(options)
      daemon:close()
      daemon, origin = web.listen({ cert = leaf.cert, key = leaf.key })
    end

    local function fails(pattern, options)
      options.url = options.url or origin
      local result, text, code = web.fetch(options)
      assert.is_nil(result)
      assert.match(pattern, text)
      assert.not_match("\n", text)
      return code
    end

    it("trusts the CA that is given, and no other", function()
      serve({ names = { "localhost" } })
      assert.equal("tls", web.fetch({ url = origin, ca_file = ca_file }, daemon, function(request)
        request:respond(200, nil, "tls")
      end).body)
      assert.equal(BAD_CERTIFICATE, fails("^localhost:%d+: SSL certificate problem: ", { ca_file = other_file }))
      assert.equal(BAD_CERTIFICATE, fails("SSL certificate problem", {}))
    end)

    it("refuses a certificate for another name, and one that is over", function()
      serve({ names = { "other.example" } })
      assert.equal(BAD_CERTIFICATE, fails("no alternative certificate subject name matches", { ca_file = ca_file }))
      serve({ names = { "localhost" }, not_before = os.time() - 7200, not_after = os.time() - 3600 })
      assert.equal(BAD_CERTIFICATE, fails("certificate has expired", { ca_file = ca_file }))
    end)

    it("says that it met plaintext", function()
      local server = tcp.listen()
      local operation = core.http({ url = "https://" .. server.target, ca_file = ca_file })
      server:peer(1):await(1)
      server:peer(1):send("HTTP/1.1 400 Bad Request\r\n\r\n")
      tcp.until_(function() return operation:take() ~= false end, "the end of the request")
      assert.match("^127.0.0.1:%d+: .*wrong version number$", (select(2, web.finish(operation))))
      server:close()
    end)

    it("names the package when there are no CA certificates", function()
      assert.equal(NO_CA_FILE, fails("no CA certificates can be read from '/nonexistent'",
        { url = "https://localhost:" .. daemon:port(), ca_file = "/nonexistent" }))
      local result = process.lua(([[
        local core = require("wgtwo.core")
        local operation = core.http({ url = "https://127.0.0.1:%d" })
        while operation:take() == false do core.poll(10, {}) end
        print(select(2, operation:take()))
      ]]):format(daemon:port()), { env = { SSL_CERT_FILE = "/nonexistent" } })
      assert.match("no CA certificates at /nonexistent: install the package ca%-certificates", result.output)
    end)

    it("resumes after the peer has closed a connection that was kept", function()
      serve({ names = { "localhost" } })
      local function answer(request) request:respond(200) end
      for _ = 1, 3 do
        local port = daemon:port()
        assert.equal(200, web.fetch({ url = origin, ca_file = ca_file }, daemon, answer).status)
        daemon:close()
        local leaf = httpd.certificate({ names = { "localhost" }, ca = authority })
        daemon = web.listen({ cert = leaf.cert, key = leaf.key, port = port })
      end
    end)
  end)

  it("ends with the Lua state, with requests under way", function()
    local result = process.lua([[
      local core, httpd = require("wgtwo.core"), require("wgtwo.httpd")
      local daemon = httpd.listen({})
      a = core.http({ url = "http://127.0.0.1:" .. daemon:port() })
      b = core.http({ url = "http://127.0.0.1:" .. daemon:port() })
      c = core.http({ url = "http://nosuch.invalid/" })
      d = daemon:take()
      print("end")
    ]])
    assert.equal("end\n", result.output)
    assert.equal("", result.errors)
    assert.is_true(result.ok)
  end)
end)
