//! stub
#[derive(Default)]
pub struct Redactor;
impl Redactor {
    pub fn is_suspect(&self, _b: &[u8]) -> bool { false }
    pub fn redact_record(&self, _k: u8, _b: &[u8]) -> Option<Vec<u8>> { None }
}
