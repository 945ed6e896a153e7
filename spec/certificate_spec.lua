local core = require("wgtwo.core")
local httpd = require("wgtwo.httpd")
local process = require("spec.support.process")
local web = require("spec.support.web")

-- What the openssl command says of a certificate.
local function describe_certificate(pem)
  local path = web.file(pem)
  local text = process.shell("openssl x509 -noout -text -in " .. path).output
  os.remove(path)
  return text
end

-- Whether the openssl command accepts `pem` as signed by `ca` and fit for `purpose`.
local function verify(pem, ca, purpose)
  local path, ca_path = web.file(pem), web.file(ca)
  local result = process.shell(("openssl verify -purpose %s -CAfile %s %s"):format(purpose, ca_path, path))
  os.remove(path)
  os.remove(ca_path)
  return result.ok, result.output .. result.errors
end

describe("certificate", function()
  it("is signed by itself, for the names and addresses given", function()
    local made = httpd.certificate({
      names = { "localhost", "a.example" }, addresses = { "127.0.0.1", "::1" }, days = 7,
    })
    local text = describe_certificate(made.cert)
    assert.match("DNS:localhost, DNS:a.example, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1", text)
    assert.match("Subject: CN = localhost", text)
    assert.match("ASN1 OID: prime256v1", text)
    assert.match("TLS Web Server Authentication", text)
    assert.equal(made.cert, made.ca)
    assert.match("^%-%-%-%-%-BEGIN PRIVATE KEY", made.key)
    assert.is_true(verify(made.cert, made.ca, "sslserver"))
  end)

  it("has addresses of 4 or 16 bytes, however they are written: gRPC ends the process for others", function()
    for _, address in ipairs({ "0.0.0.0", "255.255.255.255", "::", "::ffff:1.2.3.4", "fe80::1", "1:2:3:4:5:6:7:8" }) do
      local made = httpd.certificate({ addresses = { address } })
      assert.is_true(core.check_pem(made.cert, made.key))
      assert.not_match("<invalid>", describe_certificate(made.cert))
    end
  end)

  it("is signed by an authority", function()
    local authority = httpd.certificate({ is_ca = true, subject = "an authority" })
    local server = httpd.certificate({ names = { "localhost" }, ca = authority })
    local client = httpd.certificate({ subject = "a client", client = true, ca = authority })
    assert.equal(authority.cert, server.ca)
    assert.match("CA:TRUE", describe_certificate(authority.cert))
    assert.match("Issuer: CN = an authority", describe_certificate(server.cert))
    assert.is_true(verify(server.cert, authority.cert, "sslserver"))
    assert.is_false((verify(server.cert, authority.cert, "sslclient")))
    assert.is_true(verify(client.cert, authority.cert, "sslclient"))
    local other = httpd.certificate({ is_ca = true, subject = "an authority" })
    assert.is_false((verify(server.cert, other.cert, "sslserver")))
  end)

  it("can be over, and not yet valid", function()
    local authority = httpd.certificate({ is_ca = true })
    local now = os.time()
    local expired = httpd.certificate({
      names = { "x" }, ca = authority, not_before = now - 7200, not_after = now - 3600,
    })
    local future = httpd.certificate({ names = { "x" }, ca = authority, not_before = now + 3600 })
    local _, text = verify(expired.cert, authority.cert, "sslserver")
    assert.match("certificate has expired", text)
    _, text = verify(future.cert, authority.cert, "sslserver")
    assert.match("certificate is not yet valid", text)
  end)

  it("has a serial number of its own", function()
    local a, b = httpd.certificate({ names = { "x" } }), httpd.certificate({ names = { "x" } })
    local function serial(made) return describe_certificate(made.cert):match("Serial Number:%s*(%S+)") end
    assert.not_equal(serial(a), serial(b))
  end)

  it("refuses what no certificate can hold", function()
    local bad = {
      { addresses = { "localhost" } }, { addresses = { "127.0.0" } }, { addresses = { "127.0.0.1/8" } },
      { addresses = { "::1::" } }, { addresses = { "" } }, { addresses = { "127.0.0.1\0" } }, { names = { "a\0b" } },
      { names = { 1 } }, { names = "localhost" }, { subject = "" },
      { subject = ("x"):rep(65) }, { days = 0 }, { nmaes = {} }, { ca = { cert = "nonsense", key = "nonsense" } },
      { ca = httpd.certificate({ is_ca = true }).cert }, { not_before = 1.5 },
    }
    for i, options in ipairs(bad) do
      assert.has_error(function() httpd.certificate(options) end, nil, ("case %d"):format(i))
    end
    local mixed = { cert = httpd.certificate({ is_ca = true }).cert, key = httpd.certificate({ is_ca = true }).key }
    assert.has_error(function() httpd.certificate({ ca = mixed }) end,
      "httpd.certificate: 'ca' is no certificate with its key")
  end)
end)
